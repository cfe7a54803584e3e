from google.protobuf.internal import containers as _containers
from google.protobuf.internal import enum_type_wrapper as _enum_type_wrapper
from google.protobuf import descriptor as _descriptor
from google.protobuf import message as _message
from collections.abc import Iterable as _Iterable, Mapping as _Mapping
from typing import ClassVar as _ClassVar, Optional as _Optional, Union as _Union

DESCRIPTOR: _descriptor.FileDescriptor

class Hello(_message.Message):
    __slots__ = ("fleet", "node", "epoch", "shards", "version", "cluster")
    FLEET_FIELD_NUMBER: _ClassVar[int]
    NODE_FIELD_NUMBER: _ClassVar[int]
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    VERSION_FIELD_NUMBER: _ClassVar[int]
    CLUSTER_FIELD_NUMBER: _ClassVar[int]
    fleet: str
    node: str
    epoch: int
    shards: int
    version: str
    cluster: str
    def __init__(self, fleet: _Optional[str] = ..., node: _Optional[str] = ..., epoch: _Optional[int] = ..., shards: _Optional[int] = ..., version: _Optional[str] = ..., cluster: _Optional[str] = ...) -> None: ...

class Parcel(_message.Message):
    __slots__ = ("data", "traceparent")
    DATA_FIELD_NUMBER: _ClassVar[int]
    TRACEPARENT_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    traceparent: str
    def __init__(self, data: _Optional[bytes] = ..., traceparent: _Optional[str] = ...) -> None: ...

class Heartbeat(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class BeatReply(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PlanAck(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class PlanChanged(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class MediaWatch(_message.Message):
    __slots__ = ("data",)
    DATA_FIELD_NUMBER: _ClassVar[int]
    data: bytes
    def __init__(self, data: _Optional[bytes] = ...) -> None: ...

class Welcome(_message.Message):
    __slots__ = ("credits_bytes", "credits_parcels", "processor", "clock_ns", "max_parcel_bytes")
    CREDITS_BYTES_FIELD_NUMBER: _ClassVar[int]
    CREDITS_PARCELS_FIELD_NUMBER: _ClassVar[int]
    PROCESSOR_FIELD_NUMBER: _ClassVar[int]
    CLOCK_NS_FIELD_NUMBER: _ClassVar[int]
    MAX_PARCEL_BYTES_FIELD_NUMBER: _ClassVar[int]
    credits_bytes: int
    credits_parcels: int
    processor: str
    clock_ns: int
    max_parcel_bytes: int
    def __init__(self, credits_bytes: _Optional[int] = ..., credits_parcels: _Optional[int] = ..., processor: _Optional[str] = ..., clock_ns: _Optional[int] = ..., max_parcel_bytes: _Optional[int] = ...) -> None: ...

class Credit(_message.Message):
    __slots__ = ("bytes", "parcels")
    BYTES_FIELD_NUMBER: _ClassVar[int]
    PARCELS_FIELD_NUMBER: _ClassVar[int]
    bytes: int
    parcels: int
    def __init__(self, bytes: _Optional[int] = ..., parcels: _Optional[int] = ...) -> None: ...

class Acks(_message.Message):
    __slots__ = ("shards", "refused")
    SHARDS_FIELD_NUMBER: _ClassVar[int]
    REFUSED_FIELD_NUMBER: _ClassVar[int]
    shards: _containers.RepeatedCompositeFieldContainer[ShardAcks]
    refused: _containers.RepeatedCompositeFieldContainer[Refusal]
    def __init__(self, shards: _Optional[_Iterable[_Union[ShardAcks, _Mapping]]] = ..., refused: _Optional[_Iterable[_Union[Refusal, _Mapping]]] = ...) -> None: ...

class ShardAcks(_message.Message):
    __slots__ = ("epoch", "shard", "through", "also", "duplicates")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    THROUGH_FIELD_NUMBER: _ClassVar[int]
    ALSO_FIELD_NUMBER: _ClassVar[int]
    DUPLICATES_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    shard: int
    through: int
    also: _containers.RepeatedScalarFieldContainer[int]
    duplicates: _containers.RepeatedScalarFieldContainer[int]
    def __init__(self, epoch: _Optional[int] = ..., shard: _Optional[int] = ..., through: _Optional[int] = ..., also: _Optional[_Iterable[int]] = ..., duplicates: _Optional[_Iterable[int]] = ...) -> None: ...

class Refusal(_message.Message):
    __slots__ = ("epoch", "shard", "sequence", "cause", "reason")
    EPOCH_FIELD_NUMBER: _ClassVar[int]
    SHARD_FIELD_NUMBER: _ClassVar[int]
    SEQUENCE_FIELD_NUMBER: _ClassVar[int]
    CAUSE_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    epoch: int
    shard: int
    sequence: int
    cause: str
    reason: str
    def __init__(self, epoch: _Optional[int] = ..., shard: _Optional[int] = ..., sequence: _Optional[int] = ..., cause: _Optional[str] = ..., reason: _Optional[str] = ...) -> None: ...

class Pace(_message.Message):
    __slots__ = ("rate", "after_ns", "reason")
    class Rate(int, metaclass=_enum_type_wrapper.EnumTypeWrapper):
        __slots__ = ()
        RATE_UNSPECIFIED: _ClassVar[Pace.Rate]
        RATE_SLOW: _ClassVar[Pace.Rate]
        RATE_PAUSE: _ClassVar[Pace.Rate]
        RATE_RESUME: _ClassVar[Pace.Rate]
    RATE_UNSPECIFIED: Pace.Rate
    RATE_SLOW: Pace.Rate
    RATE_PAUSE: Pace.Rate
    RATE_RESUME: Pace.Rate
    RATE_FIELD_NUMBER: _ClassVar[int]
    AFTER_NS_FIELD_NUMBER: _ClassVar[int]
    REASON_FIELD_NUMBER: _ClassVar[int]
    rate: Pace.Rate
    after_ns: int
    reason: str
    def __init__(self, rate: _Optional[_Union[Pace.Rate, str]] = ..., after_ns: _Optional[int] = ..., reason: _Optional[str] = ...) -> None: ...
