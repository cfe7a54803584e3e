from packhound.wire.v1 import control_pb2 as _control_pb2
from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Kind(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    KIND_UNSPECIFIED: _ClassVar[Kind]
    KIND_PACKETS: _ClassVar[Kind]
    KIND_FLOWS: _ClassVar[Kind]
    KIND_LOST: _ClassVar[Kind]

class Compression(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
    __slots__ = ()
    COMPRESSION_NONE: _ClassVar[Compression]
    COMPRESSION_ZLIB: _ClassVar[Compression]
    COMPRESSION_ZSTD: _ClassVar[Compression]
KIND_UNSPECIFIED: Kind
KIND_PACKETS: Kind
KIND_FLOWS: Kind
KIND_LOST: Kind
COMPRESSION_NONE: Compression
COMPRESSION_ZLIB: Compression
COMPRESSION_ZSTD: Compression

class Header(_message.Message):
    __slots__ = ("kind", "sensor", "epoch", "shard", "sequence", "plan", "packets", "media", "traceparent", "cluster", "clock_offset_ns", "compression", "blob_bytes")
    KIND_FIELD_NUMBER: _ClassVar[int]
    SENSOR_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    PLAN_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    MEDIA_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    CLOCK_OFFSET_NS_FIELD_NUMBER: _ClassVar[int]
    COMPRESSION_FIELD_NUMBER: _ClassVar[int]
    BLOB_BYTES_FIELD_NUMBER: _ClassVar[int]
    kind: Kind
    sensor: str
    epoch: int
    shard: int
    sequence: int
    plan: int
    packets: int
    media: bool
    traceparent: str
    cluster: str
    clock_offset_ns: int
    compression: Compression
    blob_bytes: int
    def __init__(self, kind: _Optional[_Union[Kind, str]] = ..., sensor: _Optional[str] = ..., epoch: _Optional[int] = ..., shard: _Optional[int] = ..., sequence: _Optional[int] = ..., plan: _Optional[int] = ..., packets: _Optional[int] = ..., media: _Optional[bool] = ..., traceparent: _Optional[str] = ..., cluster: _Optional[str] = ..., clock_offset_ns: _Optional[int] = ..., compression: _Optional[_Union[Compression, str]] = ..., blob_bytes: _Optional[int] = ...) -> None: ...

class Envelope(_message.Message):
    __slots__ = ("header", "packets", "flows", "lost", "blob")
    HEADER_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    FLOWS_FIELD_NUMBER: _ClassVar[int]
    LOST_FIELD_NUMBER: _ClassVar[int]
    BLOB_FIELD_NUMBER: _ClassVar[int]
    header: Header
    packets: PacketBatch
    flows: FlowBatch
    lost: Tombstone
    blob: bytes
    def __init__(self, header: _Optional[_Union[Header, _Mapping]] = ..., packets: _Optional[_Union[PacketBatch, _Mapping]] = ..., flows: _Optional[_Union[FlowBatch, _Mapping]] = ..., lost: _Optional[_Union[Tombstone, _Mapping]] = ..., blob: _Optional[bytes] = ...) -> None: ...

class PacketBatch(_message.Message):
    __slots__ = ("ts", "caplen", "wirelen", "iface", "flow", "fset", "direction", "app", "call", "calls", "filter_sets", "interfaces", "facts", "actions")
    TS_FIELD_NUMBER: _ClassVar[int]
    CAPLEN_FIELD_NUMBER: _ClassVar[int]
    WIRELEN_FIELD_NUMBER: _ClassVar[int]
    IFACE_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    FSET_FIELD_NUMBER: _ClassVar[int]
    DIRECTION_FIELD_NUMBER: _ClassVar[int]
    APP_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    FILTER_SETS_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    FACTS_FIELD_NUMBER: _ClassVar[int]
    ACTIONS_FIELD_NUMBER: _ClassVar[int]
    ts: bytes
    caplen: bytes
    wirelen: bytes
    iface: bytes
    flow: bytes
    fset: bytes
    direction: bytes
    app: bytes
    call: bytes
    calls: _containers.RepeatedScalarFieldContainer[bytes]
    filter_sets: _containers.RepeatedCompositeFieldContainer[FilterSet]
    interfaces: _containers.RepeatedCompositeFieldContainer[Interface]
    facts: Facts
    actions: _containers.RepeatedCompositeFieldContainer[Action]
    def __init__(self, ts: _Optional[bytes] = ..., caplen: _Optional[bytes] = ..., wirelen: _Optional[bytes] = ..., iface: _Optional[bytes] = ..., flow: _Optional[bytes] = ..., fset: _Optional[bytes] = ..., direction: _Optional[bytes] = ..., app: _Optional[bytes] = ..., call: _Optional[bytes] = ..., calls: _Optional[_Iterable[bytes]] = ..., filter_sets: _Optional[_Iterable[_Union[FilterSet, _Mapping]]] = ..., interfaces: _Optional[_Iterable[_Union[Interface, _Mapping]]] = ..., facts: _Optional[_Union[Facts, _Mapping]] = ..., actions: _Optional[_Iterable[_Union[Action, _Mapping]]] = ...) -> None: ...

class Action(_message.Message):
    __slots__ = ("filter", "record", "per_call", "alert", "rate")
    FILTER_FIELD_NUMBER: _ClassVar[int]
    RECORD_FIELD_NUMBER: _ClassVar[int]
    PER_CALL_FIELD_NUMBER: _ClassVar[int]
    ALERT_FIELD_NUMBER: _ClassVar[int]
    RATE_FIELD_NUMBER: _ClassVar[int]
    filter: str
    record: bool
    per_call: bool
    alert: str
    rate: float
    def __init__(self, filter: _Optional[str] = ..., record: _Optional[bool] = ..., per_call: _Optional[bool] = ..., alert: _Optional[str] = ..., rate: _Optional[float] = ...) -> None: ...

class FilterSet(_message.Message):
    __slots__ = ("number", "filters")
    NUMBER_FIELD_NUMBER: _ClassVar[int]
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    number: int
    filters: _containers.RepeatedScalarFieldContainer[str]
    def __init__(self, number: _Optional[int] = ..., filters: _Optional[_Iterable[str]] = ...) -> None: ...

class Interface(_message.Message):
    __slots__ = ("name", "linktype", "snaplen")
    NAME_FIELD_NUMBER: _ClassVar[int]
    LINKTYPE_FIELD_NUMBER: _ClassVar[int]
    SNAPLEN_FIELD_NUMBER: _ClassVar[int]
    name: bytes
    linktype: int
    snaplen: int
    def __init__(self, name: _Optional[bytes] = ..., linktype: _Optional[int] = ..., snaplen: _Optional[int] = ...) -> None: ...

class Facts(_message.Message):
    __slots__ = ("names", "kind", "packet", "flow", "ts", "fields", "name", "tag", "payload", "texts", "bigs")
    NAMES_FIELD_NUMBER: _ClassVar[int]
    KIND_FIELD_NUMBER: _ClassVar[int]
    PACKET_FIELD_NUMBER: _ClassVar[int]
    FLOW_FIELD_NUMBER: _ClassVar[int]
    TS_FIELD_NUMBER: _ClassVar[int]
    FIELDS_FIELD_NUMBER: _ClassVar[int]
    NAME_FIELD_NUMBER: _ClassVar[int]
    TAG_FIELD_NUMBER: _ClassVar[int]
    PAYLOAD_FIELD_NUMBER: _ClassVar[int]
    TEXTS_FIELD_NUMBER: _ClassVar[int]
    BIGS_FIELD_NUMBER: _ClassVar[int]
    names: _containers.RepeatedScalarFieldContainer[str]
    kind: bytes
    packet: bytes
    flow: bytes
    ts: bytes
    fields: bytes
    name: bytes
    tag: bytes
    payload: bytes
    texts: _containers.RepeatedScalarFieldContainer[bytes]
    bigs: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, names: _Optional[_Iterable[str]] = ..., kind: _Optional[bytes] = ..., packet: _Optional[bytes] = ..., flow: _Optional[bytes] = ..., ts: _Optional[bytes] = ..., fields: _Optional[bytes] = ..., name: _Optional[bytes] = ..., tag: _Optional[bytes] = ..., payload: _Optional[bytes] = ..., texts: _Optional[_Iterable[bytes]] = ..., bigs: _Optional[_Iterable[bytes]] = ...) -> None: ...

class FlowBatch(_message.Message):
    __slots__ = ("records", "columns", "interfaces", "host", "hosts", "filter_set", "filter_sets", "call", "calls")
    RECORDS_FIELD_NUMBER: _ClassVar[int]
    COLUMNS_FIELD_NUMBER: _ClassVar[int]
    INTERFACES_FIELD_NUMBER: _ClassVar[int]
    HOST_FIELD_NUMBER: _ClassVar[int]
    HOSTS_FIELD_NUMBER: _ClassVar[int]
    FILTER_SET_FIELD_NUMBER: _ClassVar[int]
    FILTER_SETS_FIELD_NUMBER: _ClassVar[int]
    CALL_FIELD_NUMBER: _ClassVar[int]
    CALLS_FIELD_NUMBER: _ClassVar[int]
    records: int
    columns: _containers.RepeatedCompositeFieldContainer[Column]
    interfaces: _containers.RepeatedScalarFieldContainer[bytes]
    host: bytes
    hosts: _containers.RepeatedScalarFieldContainer[bytes]
    filter_set: bytes
    filter_sets: _containers.RepeatedCompositeFieldContainer[FilterSet]
    call: bytes
    calls: _containers.RepeatedScalarFieldContainer[bytes]
    def __init__(self, records: _Optional[int] = ..., columns: _Optional[_Iterable[_Union[Column, _Mapping]]] = ..., interfaces: _Optional[_Iterable[bytes]] = ..., host: _Optional[bytes] = ..., hosts: _Optional[_Iterable[bytes]] = ..., filter_set: _Optional[bytes] = ..., filter_sets: _Optional[_Iterable[_Union[FilterSet, _Mapping]]] = ..., call: _Optional[bytes] = ..., calls: _Optional[_Iterable[bytes]] = ...) -> None: ...

class Column(_message.Message):
    __slots__ = ("name", "bytes")
    NAME_FIELD_NUMBER: _ClassVar[int]
    BYTES_FIELD_NUMBER: _ClassVar[int]
    name: str
    bytes: int
    def __init__(self, name: _Optional[str] = ..., bytes: _Optional[int] = ...) -> None: ...

class Tombstone(_message.Message):
    __slots__ = ("kind_lost", "cause", "wanted", "last")
    KIND_LOST_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    WANTED_FIELD_NUMBER: _ClassVar[int]
    LAST_FIELD_NUMBER: _ClassVar[int]
    kind_lost: Kind
    cause: str
    wanted: _containers.RepeatedCompositeFieldContainer[Wanted]
    last: int
    def __init__(self, kind_lost: _Optional[_Union[Kind, str]] = ..., cause: _Optional[str] = ..., wanted: _Optional[_Iterable[_Union[Wanted, _Mapping]]] = ..., last: _Optional[int] = ...) -> None: ...

class Wanted(_message.Message):
    __slots__ = ("filters", "packets")
    FILTERS_FIELD_NUMBER: _ClassVar[int]
    PACKETS_FIELD_NUMBER: _ClassVar[int]
    filters: _containers.RepeatedScalarFieldContainer[str]
    packets: int
    def __init__(self, filters: _Optional[_Iterable[str]] = ..., packets: _Optional[int] = ...) -> None: ...

class ToProcessor(_message.Message):
    __slots__ = ("hello", "parcel", "heartbeat", "plan_ack", "media_watch")
    HELLO_FIELD_NUMBER: _ClassVar[int]
    PARCEL_FIELD_NUMBER: _ClassVar[int]
    HEARTBEAT_FIELD_NUMBER: _ClassVar[int]
    PLAN_ACK_FIELD_NUMBER: _ClassVar[int]
    MEDIA_WATCH_FIELD_NUMBER: _ClassVar[int]
    hello: _control_pb2.Hello
    parcel: _control_pb2.Parcel
    heartbeat: _control_pb2.Heartbeat
    plan_ack: _control_pb2.PlanAck
    media_watch: _control_pb2.MediaWatch
    def __init__(self, hello: _Optional[_Union[_control_pb2.Hello, _Mapping]] = ..., parcel: _Optional[_Union[_control_pb2.Parcel, _Mapping]] = ..., heartbeat: _Optional[_Union[_control_pb2.Heartbeat, _Mapping]] = ..., plan_ack: _Optional[_Union[_control_pb2.PlanAck, _Mapping]] = ..., media_watch: _Optional[_Union[_control_pb2.MediaWatch, _Mapping]] = ...) -> None: ...

class ToSensor(_message.Message):
    __slots__ = ("welcome", "acks", "credit", "pace", "plan_changed", "beat_reply", "media_watch")
    WELCOME_FIELD_NUMBER: _ClassVar[int]
    ACKS_FIELD_NUMBER: _ClassVar[int]
    CREDIT_FIELD_NUMBER: _ClassVar[int]
    PACE_FIELD_NUMBER: _ClassVar[int]
    PLAN_CHANGED_FIELD_NUMBER: _ClassVar[int]
    BEAT_REPLY_FIELD_NUMBER: _ClassVar[int]
    MEDIA_WATCH_FIELD_NUMBER: _ClassVar[int]
    welcome: _control_pb2.Welcome
    acks: _control_pb2.Acks
    credit: _control_pb2.Credit
    pace: _control_pb2.Pace
    plan_changed: _control_pb2.PlanChanged
    beat_reply: _control_pb2.BeatReply
    media_watch: _control_pb2.MediaWatch
    def __init__(self, welcome: _Optional[_Union[_control_pb2.Welcome, _Mapping]] = ..., acks: _Optional[_Union[_control_pb2.Acks, _Mapping]] = ..., credit: _Optional[_Union[_control_pb2.Credit, _Mapping]] = ..., pace: _Optional[_Union[_control_pb2.Pace, _Mapping]] = ..., plan_changed: _Optional[_Union[_control_pb2.PlanChanged, _Mapping]] = ..., beat_reply: _Optional[_Union[_control_pb2.BeatReply, _Mapping]] = ..., media_watch: _Optional[_Union[_control_pb2.MediaWatch, _Mapping]] = ...) -> None: ...
