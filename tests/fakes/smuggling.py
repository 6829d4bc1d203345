"""Requests that hide another one, or another path, from whoever reads them in another way than the engine."""

from __future__ import annotations

INFO = b"GET /info HTTP/1.1\r\nHost: d\r\n\r\n"
SMUGGLED = b"POST /containers/create HTTP/1.1\r\nHost: d\r\nContent-Length: 0\r\n\r\n"
CORPUS = [
    INFO[:-2] + b"Content-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    INFO + SMUGGLED,
    INFO[:-2] + b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Transfer-Encoding : chunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Transfer-Encoding:\x0bchunked\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Content-Length: 0\r\nTransfer-Encoding: chunked\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Content-Length: 0\r\nContent-Length: %d\r\n\r\n" % len(SMUGGLED) + SMUGGLED,
    INFO[:-2] + b"Content-Length: 0_\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"X: a\r\n \r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"X: a\n\n" + SMUGGLED,
    INFO[:-2] + b"X: a\r\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"X: a\x00\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Upgrade: tcp\r\nConnection: Upgrade\r\n\r\n" + SMUGGLED,
    INFO[:-2] + b"Expect: 100-continue\r\nContent-Length: 4\r\n\r\nabcd" + SMUGGLED,
    b"\r\n" + SMUGGLED,
    b"GET /info\r\n\r\n" + SMUGGLED,
    b"GET /info HTTP/1.1\nHost: d\n\n" + SMUGGLED,
    b"GET /info HTTP/1.1\r\nHost: d\r\n\n" + SMUGGLED,
    b"GET /info?x=%0d%0a%0d%0a" + SMUGGLED,
    b"GET http://d/info HTTP/1.1\r\nHost: d\r\n\r\n" + SMUGGLED,
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + SMUGGLED,
    b"CONNECT /containers/create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"GET /containers/../containers/create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"POST /containers//create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"POST /%63ontainers/create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"POST /containers/x/json/../../create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"POST /v1.41/../containers/create HTTP/1.1\r\nHost: d\r\n\r\n",
    b"GET /images/../containers/x/json HTTP/1.1\r\nHost: d\r\n\r\n",
    b"POST /containers/create HTTP/1.1\r\nHost: d\r\nX-HTTP-Method-Override: GET\r\n\r\n",
]

_HEAD = b" HTTP/1.1\r\nHost: d\r\nConnection: close\r\n\r\n"
_NAMED = b"POST /aiidpd/images/vllm?name=vllm-aiidpd-new-0123abcd&image=a.io/v:2"
_PULL = b"POST /aiidpd/pulls/vllm?image=a.io/v:2"
IMAGES = [
    # Bodies, and words that are to become a part of one.
    _NAMED + b" HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}",
    _NAMED + b" HTTP/1.1\r\nHost: d\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    _NAMED + b" HTTP/1.1\r\nHost: d\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}",
    _PULL + b" HTTP/1.1\r\nHost: d\r\nContent-Length: 2\r\n\r\n{}",
    _NAMED + _HEAD + SMUGGLED,
    _NAMED + b"&HostConfig=x" + _HEAD,
    _NAMED + b"&name=vllm" + _HEAD,
    _NAMED + b"&image=evil.io/x" + _HEAD,
    _NAMED + b"%26privileged=1" + _HEAD,
    _PULL + b"&fromSrc=-" + _HEAD,
    _PULL + b"%26fromSrc=-" + _HEAD,
    _PULL + b"%0d%0aX-Registry-Auth:x" + _HEAD,
    _PULL + b"&platform=x" + _HEAD,
    *(
        b"POST /aiidpd/%b/vllm?image=%b" % (kind, image) + _HEAD
        for kind in (b"images", b"pulls")
        for image in (
            *(b"evil.io/x:1", b"a.io/w:2", b"v:2", b"a.io/v/x:2", b"b.io/a.io/v:2", b"A.io/v:2", b"a.io/V:2"),
            *(
                b"a.io/v/../w:2",
                b"a.io/../evil.io/x",
                b"a.io//v:2",
                b"./a.io/v:2",
                b"a.io/v:2/..",
                b"a.io/v:..%2f",
            ),
            *(
                b"a.io/v@sha256:22",
                b"a.io/v:2@evil.io/x",
                b"a.io/v@evil:2",
                b"evil.io/x@a.io/v:2",
                b"@",
                b":",
            ),
            *(
                b"a.io/v:2%00",
                b"a.io/v:2%0a",
                b"a.io/v:2%20",
                b"a.io/v:2+",
                b"%20a.io/v:2",
                b"a.io/v:2%23",
                b"",
            ),
            *(
                b"http://a.io/v:2",
                b"a.io%5cv:2",
                b"a.io/v%253a2",
                b"a.io/%76%C2%AD:2",
                b"a.io\xff/v:2",
                b"a" * 600,
            ),
            *(
                b"22" * 32,
                b"22" * 6,
                b"sha256:" + b"22" * 6,
                b"sha256:" + b"22" * 32,
                b"sha256:" + b"99" * 32,
            ),
        )
    ),
    b"POST /aiidpd/images/..?image=a.io/v:2" + _HEAD,
    b"POST /aiidpd/images/vllm/../../containers/create?image=a.io/v:2" + _HEAD,
    b"POST /aiidpd//images/vllm?image=a.io/v:2" + _HEAD,
    b"POST /aiidpd/images/%76llm?image=a.io/v:2" + _HEAD,
    b"POST /aiidpd/images/other?image=a.io/v:2" + _HEAD,
    b"GET /aiidpd/images/vllm?image=a.io/v:2" + _HEAD,
    b"GET /aiidpd/pulls/vllm?image=a.io/v:2" + _HEAD,
]
