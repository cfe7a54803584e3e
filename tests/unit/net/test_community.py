"""Community IDs are those that other tools compute."""

from __future__ import annotations

import ipaddress

import numpy as np
import pytest

from packhound.net.community import community_id, of_flow
from packhound.net.flow import FLOW_DTYPE

# The reference values of the specification (corelight/community-id-spec, baseline), seeds 0 and 1.
VECTORS = [
    (58, "fe80::200:86ff:fe05:80da", 135, "fe80::260:97ff:fe07:69ea", 136,
     "dGHyGvjMfljg6Bppwm3bg0LO8TY=", "kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
    (58, "fe80::260:97ff:fe07:69ea", 136, "fe80::200:86ff:fe05:80da", 135,
     "dGHyGvjMfljg6Bppwm3bg0LO8TY=", "kHa1FhMYIT6Ym2Vm2AOtoOARDzY="),
    (58, "fe80::260:97ff:fe07:69ea", 135, "fe80::200:86ff:fe05:80da", 136,
     "zavyT/cezQr1fmImYCwYnMXbgck=", "2hSqmsDZ2kdcY9kbiUzOEBic0iM="),
    (58, "3ffe:501:1800:2345::2", 3, "3ffe:507:0:1:200:86ff:fe05:80da", 0,
     "2ObVBgIn28oZvibYZhZMBgh7WdQ=", "lVEtCZpYu84Xqaa++3lXFyuu2n4="),
    (58, "3ffe:501:410:0:2c0:dfff:fe47:33e", 1, "3ffe:507:0:1:200:86ff:fe05:80da", 4,
     "hLZd0XGWojozrvxqE0dWB1iM6R0=", "W8MHwXpWzpoSTD+cGcaJr4u0ys8="),
    (58, "3ffe:507:0:1:200:86ff:fe05:80da", 128, "3ffe:501:0:1001::2", 129,
     "+TW+HtLHvV1xnGhV1lv7XoJrqQg=", "GfZxjAkDk2MkegpBYHV6tadtFXQ="),
    (58, "3ffe:501:0:1001::2", 129, "3ffe:507:0:1:200:86ff:fe05:80da", 128,
     "+TW+HtLHvV1xnGhV1lv7XoJrqQg=", "GfZxjAkDk2MkegpBYHV6tadtFXQ="),
    (58, "fe80::200:86ff:fe05:80da", 133, "ff02::2", 134,
     "hO+sN4H+MG5MY/8hIrXPqc4ZQz0=", "L7Ka0ZMYu+J3bL4ulW2PrqyXNo8="),
    (58, "fe80::260:97ff:fe07:69ea", 134, "ff02::1", 133,
     "pkvHqCL88/tg1k4cPigmZXUtL00=", "K/ee5UCqAMAQXDorP5nSa2CGLjc="),
    (1, "192.168.0.89", 8, "192.168.0.1", 0,
     "X0snYXpgwiv9TZtqg64sgzUn6Dk=", "03g6IloqVBdcZlPyX8r0hgoE7kA="),
    (1, "192.168.0.1", 0, "192.168.0.89", 8,
     "X0snYXpgwiv9TZtqg64sgzUn6Dk=", "03g6IloqVBdcZlPyX8r0hgoE7kA="),
    (1, "10.0.0.1", 11, "10.0.0.2", 0,
     "YHxtAirCG//0OzkcVAukqKQN9xM=", "XjUibYHaafLQ3pxQeiMI8g25q20="),
    (6, "2001:470:e5bf:dead:4957:2174:e82c:4887", 63943, "2607:f8b0:400c:c03::1a", 25,
     "/qFaeAR+gFe1KYjMzVDsMv+wgU4=", "eJYTW6AOzFLlSUoESovMjnu7rMw="),
    (6, "2607:f8b0:400c:c03::1a", 25, "2001:470:e5bf:dead:4957:2174:e82c:4887", 63943,
     "/qFaeAR+gFe1KYjMzVDsMv+wgU4=", "eJYTW6AOzFLlSUoESovMjnu7rMw="),
    (132, "192.168.170.8", 7, "192.168.170.56", 7,
     "MP2EtRCAUIZvTw6MxJHLV7N7JDs=", "5w3ZRjeKBzqT3zsaEECDGjUbYeg="),
    (6, "128.232.110.120", 34855, "66.35.250.204", 80,
     "LQU9qZlK+B5F3KDmev6m5PMibrg=", "3V71V58M3Ksw/yuFALMcW0LAHvc="),
    (17, "8.8.8.8", 53, "192.168.1.52", 54585,
     "d/FP5EW3wiY1vCndhwleRRKHowQ=", "Q9We8WO3piVF8yEQBNJF4uiSVrI="),
    (46, "10.1.12.2", 0, "10.1.12.1", 0,
     "KHlLkgoJW7ifUTyTSgyVfkFHzKw=", "rYir8gphR31noO9iDRQmF/BteEI="),
]  # fmt: skip


@pytest.mark.parametrize(("proto", "src", "sport", "dst", "dport", "plain", "seeded"), VECTORS)
def test_ids_are_those_of_the_specification(
    proto: int, src: str, sport: int, dst: str, dport: int, plain: str, seeded: str
) -> None:
    one, two = ipaddress.ip_address(src).packed, ipaddress.ip_address(dst).packed
    for seed, value in ((0, plain), (1, seeded)):
        found = community_id(proto=proto, src=one, dst=two, sport=sport, dport=dport, seed=seed)
        assert found == f"1:{value}"


def test_a_flow_record_knows_its_id() -> None:
    row = np.zeros(1, FLOW_DTYPE)[0]
    row["ip_version"], row["proto"], row["sport"], row["dport"] = 4, 6, 34855, 80
    row["src"][:4], row["dst"][:4] = (128, 232, 110, 120), (66, 35, 250, 204)
    assert of_flow(row) == "1:LQU9qZlK+B5F3KDmev6m5PMibrg="


def test_one_way_messages_keep_their_direction() -> None:
    a, b = bytes((10, 0, 0, 1)), bytes((10, 0, 0, 2))
    one = community_id(proto=1, src=a, dst=b, sport=3, dport=3)
    assert one != community_id(proto=1, src=b, dst=a, sport=3, dport=3)
