from packhound.wire.v1 import packets_pb2 as _packets_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Selection(_message.Message):
    __slots__ = ("filters", "namespace", "node")
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    NAMESPACE_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedScalarFieldContainer[str]
    namespace: str
    node: str
    def __init__(self, filters: _Optional[_Iterable[str]] = ..., namespace: _Optional[str] = ..., node: _Optional[str] = ...) -> None: ...

class StreamRequest(_message.Message):
    __slots__ = ("selection", "resume")
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    RESUME_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    resume: str
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ..., resume: _Optional[str] = ...) -> None: ...

class PacketsEvent(_message.Message):
    __slots__ = ("position", "parcel", "skipped")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    PARCEL_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    position: str
    parcel: _packets_pb2.Envelope
    skipped: int
    def __init__(self, position: _Optional[str] = ..., parcel: _Optional[_Union[_packets_pb2.Envelope, _Mapping]] = ..., skipped: _Optional[int] = ...) -> None: ...

class RecordsEvent(_message.Message):
    __slots__ = ("position", "records", "skipped")
    POSITION_FIELD_NUMBER: _ClassVar[int]
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    SKIPPED_FIELD_NUMBER: _ClassVar[int]
    position: str
    records: _containers.RepeatedCompositeFieldContainer[Record]
    skipped: int
    def __init__(self, position: _Optional[str] = ..., records: _Optional[_Iterable[_Union[Record, _Mapping]]] = ..., skipped: _Optional[int] = ...) -> None: ...

class Record(_message.Message):
    __slots__ = ("fields",)
    class FieldsEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: Datum
        def __init__(self, key: _Optional[str] = ..., value: _Optional[_Union[Datum, _Mapping]] = ...) -> None: ...
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    fields: _containers.MessageMap[str, Datum]
    def __init__(self, fields: _Optional[_Mapping[str, Datum]] = ...) -> None: ...

class Datum(_message.Message):
    __slots__ = ("text", "integer", "natural", "real", "truth", "list")
    TEXT_FIELD_NUMBER: _ClassVar[int]
    INTEGER_FIELD_NUMBER: _ClassVar[int]
    NATURAL_FIELD_NUMBER: _ClassVar[int]
    REAL_FIELD_NUMBER: _ClassVar[int]
    TRUTH_FIELD_NUMBER: _ClassVar[int]
    LIST_FIELD_NUMBER: _ClassVar[int]
    text: str
    integer: int
    natural: int
    real: float
    truth: bool
    list: Data
    def __init__(self, text: _Optional[str] = ..., integer: _Optional[int] = ..., natural: _Optional[int] = ..., real: _Optional[float] = ..., truth: _Optional[bool] = ..., list: _Optional[_Union[Data, _Mapping]] = ...) -> None: ...

class Data(_message.Message):
    __slots__ = ("values",)
    VALUES_FIELD_NUMBER: _ClassVar[int]
    values: _containers.RepeatedCompositeFieldContainer[Datum]
    def __init__(self, values: _Optional[_Iterable[_Union[Datum, _Mapping]]] = ...) -> None: ...

class ListFiltersRequest(_message.Message):
    __slots__ = ("selection",)
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ...) -> None: ...

class ListFiltersReply(_message.Message):
    __slots__ = ("revision", "filters")
    REVISION_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    revision: int
    filters: _containers.RepeatedCompositeFieldContainer[FilterStatus]
    def __init__(self, revision: _Optional[int] = ..., filters: _Optional[_Iterable[_Union[FilterStatus, _Mapping]]] = ...) -> None: ...

class FilterStatus(_message.Message):
    __slots__ = ("name", "source", "active", "matched", "delivered", "lost", "sensors")
    class LostEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NAME_FIELD_NUMBER: _ClassVar[int]
    SOURCE_FIELD_NUMBER: _ClassVar[int]
    ACTIVE_FIELD_NUMBER: _ClassVar[int]
    MATCHED_FIELD_NUMBER: _ClassVar[int]
    DELIVERED_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    name: str
    source: str
    active: bool
    matched: int
    delivered: int
    lost: _containers.ScalarMap[str, int]
    sensors: SensorCounts
    def __init__(self, name: _Optional[str] = ..., source: _Optional[str] = ..., active: _Optional[bool] = ..., matched: _Optional[int] = ..., delivered: _Optional[int] = ..., lost: _Optional[_Mapping[str, int]] = ..., sensors: _Optional[_Union[SensorCounts, _Mapping]] = ...) -> None: ...

class SensorCounts(_message.Message):
    __slots__ = ("desired", "acked", "rejected", "silent")
    DESIRED_FIELD_NUMBER: _ClassVar[int]
    ACKED_FIELD_NUMBER: _ClassVar[int]
    REJECTED_FIELD_NUMBER: _ClassVar[int]
    SILENT_FIELD_NUMBER: _ClassVar[int]
    desired: int
    acked: int
    rejected: int
    silent: int
    def __init__(self, desired: _Optional[int] = ..., acked: _Optional[int] = ..., rejected: _Optional[int] = ..., silent: _Optional[int] = ...) -> None: ...

class ListSensorsRequest(_message.Message):
    __slots__ = ("selection",)
    SELECTION_FIELD_NUMBER: _ClassVar[int]
    selection: Selection
    def __init__(self, selection: _Optional[_Union[Selection, _Mapping]] = ...) -> None: ...

class ListSensorsReply(_message.Message):
    __slots__ = ("sensors",)
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    sensors: _containers.RepeatedCompositeFieldContainer[SensorStatus]
    def __init__(self, sensors: _Optional[_Iterable[_Union[SensorStatus, _Mapping]]] = ...) -> None: ...

class SensorStatus(_message.Message):
    __slots__ = ("node", "epoch", "cluster", "state", "seen_ns", "started_ns", "revision", "plan_state", "plan_reason", "link", "spool_bytes", "spool_packets", "clock_offset_ns", "rss", "cpu", "modes", "books", "interfaces", "conditions", "version")
    class ModesEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: str
        def __init__(self, key: _Optional[str] = ..., value: _Optional[str] = ...) -> None: ...
    class BooksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    NODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    SEEN_NS_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    REVISION_FIELD_NUMBER: _ClassVar[int]
    PLAN_STATE_FIELD_NUMBER: _ClassVar[int]
    PLAN_REASON_FIELD_NUMBER: _ClassVar[int]
    LINK_FIELD_NUMBER: _ClassVar[int]
    SPOOL_BYTES_FIELD_NUMBER: _ClassVar[int]
    SPOOL_PACKETS_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    RSS_FIELD_NUMBER: _ClassVar[int]
    CPU_FIELD_NUMBER: _ClassVar[int]
    MODES_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    node: str
    epoch: int
    cluster: str
    state: str
    seen_ns: int
    started_ns: int
    revision: int
    plan_state: str
    plan_reason: str
    link: str
    spool_bytes: int
    spool_packets: int
    clock_offset_ns: int
    rss: int
    cpu: float
    modes: _containers.ScalarMap[str, str]
    books: _containers.ScalarMap[str, int]
    interfaces: _containers.RepeatedScalarFieldContainer[str]
    conditions: _containers.RepeatedScalarFieldContainer[str]
    version: str
    def __init__(self, node: _Optional[str] = ..., epoch: _Optional[int] = ..., cluster: _Optional[str] = ..., state: _Optional[str] = ..., seen_ns: _Optional[int] = ..., started_ns: _Optional[int] = ..., revision: _Optional[int] = ..., plan_state: _Optional[str] = ..., plan_reason: _Optional[str] = ..., link: _Optional[str] = ..., spool_bytes: _Optional[int] = ..., spool_packets: _Optional[int] = ..., clock_offset_ns: _Optional[int] = ..., rss: _Optional[int] = ..., cpu: _Optional[float] = ..., modes: _Optional[_Mapping[str, str]] = ..., books: _Optional[_Mapping[str, int]] = ..., interfaces: _Optional[_Iterable[str]] = ..., conditions: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ...) -> None: ...

class TopologyRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class TopologyReply(_message.Message):
    __slots__ = ("fleet", "shards", "processors", "sensors", "broker")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    PROCESSORS_FIELD_NUMBER: _ClassVar[int]
    SENSORS_FIELD_NUMBER: _ClassVar[int]
    BROKER_FIELD_NUMBER: _ClassVar[int]
    fleet: str
    shards: int
    processors: _containers.RepeatedCompositeFieldContainer[ProcessorStatus]
    sensors: _containers.RepeatedCompositeFieldContainer[SensorStatus]
    broker: str
    def __init__(self, fleet: _Optional[str] = ..., shards: _Optional[int] = ..., processors: _Optional[_Iterable[_Union[ProcessorStatus, _Mapping]]] = ..., sensors: _Optional[_Iterable[_Union[SensorStatus, _Mapping]]] = ..., broker: _Optional[str] = ...) -> None: ...

class ProcessorStatus(_message.Message):
    __slots__ = ("name", "address", "shards", "seen_ns", "state", "conditions", "version")
    NAME_FIELD_NUMBER: _ClassVar[int]
    ADDRESS_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    SEEN_NS_FIELD_NUMBER: _ClassVar[int]
    STATE_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    name: str
    address: str
    shards: _containers.RepeatedScalarFieldContainer[int]
    seen_ns: int
    state: str
    conditions: _containers.RepeatedScalarFieldContainer[str]
    version: str
    def __init__(self, name: _Optional[str] = ..., address: _Optional[str] = ..., shards: _Optional[_Iterable[int]] = ..., seen_ns: _Optional[int] = ..., state: _Optional[str] = ..., conditions: _Optional[_Iterable[str]] = ..., version: _Optional[str] = ...) -> None: ...

class StatusRequest(_message.Message):
    __slots__ = ()
    def __init__(self) -> None: ...

class StatusReply(_message.Message):
    __slots__ = ("processor", "clock_ns", "started_ns", "version", "books", "residual", "conditions", "subscribers")
    class BooksEntry(_message.Message):
        __slots__ = ("key", "value")
        KEY_FIELD_NUMBER: _ClassVar[int]
        VALUE_FIELD_NUMBER: _ClassVar[int]
        key: str
        value: int
        def __init__(self, key: _Optional[str] = ..., value: _Optional[int] = ...) -> None: ...
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    CLOCK_NS_FIELD_NUMBER: _ClassVar[int]
    STARTED_NS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    BOOKS_FIELD_NUMBER: _ClassVar[int]
    RESIDUAL_FIELD_NUMBER: _ClassVar[int]
    CONDITIONS_FIELD_NUMBER: _ClassVar[int]
    SUBSCRIBERS_FIELD_NUMBER: _ClassVar[int]
    processor: str
    clock_ns: int
    started_ns: int
    version: str
    books: _containers.ScalarMap[str, int]
    residual: int
    conditions: _containers.RepeatedScalarFieldContainer[str]
    subscribers: int
    def __init__(self, processor: _Optional[str] = ..., clock_ns: _Optional[int] = ..., started_ns: _Optional[int] = ..., version: _Optional[str] = ..., books: _Optional[_Mapping[str, int]] = ..., residual: _Optional[int] = ..., conditions: _Optional[_Iterable[str]] = ..., subscribers: _Optional[int] = ...) -> None: ...
