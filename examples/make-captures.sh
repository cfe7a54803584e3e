#!/usr/bin/env bash
# Makes the captures of this folder: real programs between two network namespaces on a veth pair, nothing leaves them.
#   call.pcapng   a SIP call from alice (SIPp) with RTP both ways, a REGISTER, a refused call to bob
#   web.pcapng    TLS with the server name www.hunt.example (openssl), plain HTTP (curl to Python's http.server), DNS
# Needs root, sip-tester, openssl, curl, tcpdump, iproute2. Takes about 20 seconds.
set -euo pipefail
cd "$(dirname "$0")"
[ "$(id -u)" = 0 ] || { echo "make-captures.sh: needs root (network namespaces)" >&2; exit 4; }
for tool in sipp openssl curl tcpdump ip; do
  command -v "$tool" >/dev/null || { echo "make-captures.sh: $tool is missing (apt-get install sip-tester openssl curl tcpdump iproute2)" >&2; exit 3; }
done
A=ph-ex-a B=ph-ex-b WORK=$(mktemp -d)
finish() { for ns in $A $B; do ip netns pids $ns 2>/dev/null | xargs -r kill 2>/dev/null || true; ip netns del $ns 2>/dev/null || true; done; rm -rf "$WORK"; }
trap finish EXIT
ip netns add $A; ip netns add $B
ip -n $A link add name va type veth peer name vb netns $B
for pair in "$A va 10.20.0.1" "$B vb 10.20.0.2"; do
  set -- $pair
  ip netns exec "$1" sysctl -qw net.ipv6.conf.all.disable_ipv6=1
  ip -n "$1" addr add "$3/24" dev "$2"; ip -n "$1" link set "$2" up; ip -n "$1" link set lo up
done
record() { ip netns exec $B tcpdump -q -U -i vb -w "$WORK/$1.pcap" 2>/dev/null & RECORDER=$!; sleep 1; }
stop() { sleep 1; kill -INT $RECORDER; wait $RECORDER 2>/dev/null || true; }

record call
cd "$WORK"
# the called party answers, echoes the media and counts as "b" in SIPp's built-in scenario
ip netns exec $B sipp -sn uas -i 10.20.0.2 -p 5060 -rtp_echo -mi 10.20.0.2 -mp 6000 -bg >/dev/null 2>&1 || true
cat >call.xml <<'X'
<?xml version="1.0" encoding="ISO-8859-1" ?>
<scenario name="alice calls">
  <send retrans="500"><![CDATA[
      INVITE sip:bob@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: "Alice" <sip:alice@hunt.example>;tag=[call_number]
      To: <sip:bob@hunt.example>
      Call-ID: [call_id]
      CSeq: 1 INVITE
      Contact: <sip:alice@[local_ip]:[local_port]>
      Max-Forwards: 70
      Content-Type: application/sdp
      Content-Length: [len]

      v=0
      o=alice 1 1 IN IP[local_ip_type] [local_ip]
      s=-
      c=IN IP[media_ip_type] [media_ip]
      t=0 0
      m=audio [media_port] RTP/AVP 8
      a=rtpmap:8 PCMA/8000
  ]]></send>
  <recv response="100" optional="true"/>
  <recv response="180" optional="true"/>
  <recv response="200" rtd="true"/>
  <send><![CDATA[
      ACK sip:bob@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: "Alice" <sip:alice@hunt.example>;tag=[call_number]
      To: <sip:bob@hunt.example>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 1 ACK
      Max-Forwards: 70
      Content-Length: 0
  ]]></send>
  <nop><action><exec play_pcap_audio="pcap/tone.pcap"/></action></nop>
  <pause milliseconds="2500"/>
  <send retrans="500"><![CDATA[
      BYE sip:bob@[remote_ip]:[remote_port] SIP/2.0
      Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
      From: "Alice" <sip:alice@hunt.example>;tag=[call_number]
      To: <sip:bob@hunt.example>[peer_tag_param]
      Call-ID: [call_id]
      CSeq: 2 BYE
      Max-Forwards: 70
      Content-Length: 0
  ]]></send>
  <recv response="200"/>
</scenario>
X
mkdir -p pcap
# two seconds of a tone in G.711 A-law, made here: SIPp's own sample is not ours to ship
python3 - <<'P'
import math, struct
def alaw(x):
    sign, x = (0x80, x) if x >= 0 else (0, -x - 1)
    x = min(x, 32635) >> 3
    exponent = max(0, x.bit_length() - 5)
    mantissa = (x >> (exponent if exponent > 1 else 1) if exponent else x >> 1) & 15
    return (sign | min(exponent, 7) << 4 | mantissa) ^ 0x55
with open("pcap/tone.pcap", "wb") as out:
    out.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
    for n in range(100):
        tone = bytes(alaw(int(9000 * math.sin(2 * math.pi * 440 * (n * 160 + i) / 8000))) for i in range(160))
        rtp = struct.pack("!BBHII", 0x80, 8 | (0x80 if n == 0 else 0), n + 1, n * 160, 0x50484F54) + tone
        udp = struct.pack("!HHHH", 7000, 6000, 8 + len(rtp), 0) + rtp
        ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), n, 0, 64, 17, 0, bytes((10, 20, 0, 1)), bytes((10, 20, 0, 2)))
        frame = bytes(12) + b"\x08\0" + ip + udp
        out.write(struct.pack("<IIII", 1 + n // 50, n % 50 * 20000, len(frame), len(frame)) + frame)
P
sed -e 's/alice/carol/g; s/Alice/Carol/g' -e '/play_pcap_audio/d' -e 's/milliseconds="2500"/milliseconds="300"/' call.xml >other.xml
timeout 20 ip netns exec $A sipp 10.20.0.2:5060 -sf call.xml -i 10.20.0.1 -p 5061 -mi 10.20.0.1 -mp 7000 -m 1 >/dev/null 2>&1 || true
timeout 20 ip netns exec $A sipp 10.20.0.2:5060 -sf other.xml -i 10.20.0.1 -p 5062 -mi 10.20.0.1 -mp 7100 -m 2 >/dev/null 2>&1 || true
stop

record web
openssl req -x509 -newkey rsa:2048 -nodes -keyout key.pem -out cert.pem -days 30 -subj /CN=www.hunt.example >/dev/null 2>&1
ip netns exec $B openssl s_server -accept 443 -key key.pem -cert cert.pem -www >/dev/null 2>&1 &
ip netns exec $B python3 -m http.server --bind 10.20.0.2 80 >/dev/null 2>&1 &
cat >dns.py <<'P'
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(("10.20.0.2", 53))
for _ in range(3):
    q, peer = s.recvfrom(512)
    s.sendto(q[:2] + b"\x81\x80" + q[4:6] + b"\0\1\0\0\0\0" + q[12:] + b"\xc0\x0c\0\1\0\1\0\0\0\x3c\0\4\x0a\x14\0\2", peer)
P
ip netns exec $B python3 dns.py &
cat >ask.py <<'P'
import socket, struct
for i, name in enumerate((b"www.hunt.example", b"mail.hunt.example", b"www.other.example")):
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.settimeout(3)
    q = b"".join(bytes([len(p)]) + p for p in name.split(b".")) + b"\0\0\1\0\1"
    s.sendto(struct.pack("!HHHHHH", i + 1, 0x0100, 1, 0, 0, 0) + q, ("10.20.0.2", 53)); s.recv(512)
P
sleep 1
ip netns exec $A python3 ask.py
for host in www.hunt.example www.other.example www.hunt.example; do
  echo | timeout 5 ip netns exec $A openssl s_client -connect 10.20.0.2:443 -servername $host >/dev/null 2>&1 || true
done
timeout 5 ip netns exec $A curl -s -o /dev/null -H "Host: www.hunt.example" http://10.20.0.2/cert.pem || true
timeout 5 ip netns exec $A curl -s -o /dev/null -H "Host: www.other.example" http://10.20.0.2/cert.pem || true
stop
cd - >/dev/null
for name in call web; do
  "${PACKHOUND_TSHARK:-tshark}" -r "$WORK/$name.pcap" -Y 'not arp' -F pcapng -w "captures/$name.pcapng" 2>/dev/null
  ls -l "captures/$name.pcapng"
done
