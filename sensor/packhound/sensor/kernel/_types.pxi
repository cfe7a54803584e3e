# Shared C types of the kernel: what decode says of one packet. Included by _scan.pyx before the stages.
from libc.stdint cimport int8_t, int16_t, int32_t, int64_t, uint8_t, uint16_t, uint32_t, uint64_t
from libc.string cimport memcmp, memcpy, memmove, memset
from libc.stdlib cimport calloc, free, malloc, realloc

# Frame.status: same numbers as packhound.net.frame.Status
cdef enum:
    FRAME_OK = 0          # an IP packet, ports known where the protocol has them
    FRAME_NOT_IP = 1      # read to its end, but holds no IP (ARP, LLC, ...): see ethertype
    FRAME_TRUNCATED = 2   # a header runs past the captured bytes
    FRAME_MALFORMED = 3   # a length or version field contradicts itself
    FRAME_FRAGMENT = 4    # a piece of an IP datagram (innermost IP seen so far): needs reassembly
    FRAME_UNSUPPORTED = 5 # link type or tunnel depth we do not read

cdef struct Frame:
    uint8_t status
    uint8_t ip_version     # 4, 6; 0: no IP
    uint8_t proto          # IANA number of the innermost packet's transport (after extension headers)
    uint8_t tcp_flags
    uint8_t depth          # encapsulations removed (VLAN does not count)
    uint8_t frag_more      # more fragments follow
    uint8_t ttl
    uint8_t icmp_type
    uint8_t icmp_code
    uint16_t ethertype     # of the innermost frame, 0 where there is none
    uint16_t vlan          # outermost VLAN id, 0: untagged
    uint16_t sport
    uint16_t dport
    uint16_t window
    uint32_t tenant        # VXLAN/Geneve VNI + 1 (so that VNI 0 separates too), else 0
    uint32_t frag_id
    uint32_t frag_offset   # bytes
    uint32_t seq
    uint32_t ack
    # offsets from the first byte of the packet; 0 where there is none
    uint32_t l3            # innermost IP header; of an ARP frame (FRAME_NOT_IP) its message
    uint32_t l4            # its transport header
    uint32_t payload       # transport payload
    uint32_t payload_len   # payload bytes that are captured (padding excluded)
    uint32_t payload_wire  # payload bytes by the headers (larger than payload_len when the snap length cut it)
    uint8_t src[16]        # IPv4 in the first four bytes, the rest 0
    uint8_t dst[16]
