package rehearse

import (
	"bufio"
	"bytes"
	"crypto/sha1"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
)

// upgrading is a server that upgrades a connection to a WebSocket, sends frames, and reads until
// the other side ends.
func upgrading(frames []byte, got *bytes.Buffer) func(*net.TCPConn) {
	return func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		req, err := http.ReadRequest(in)
		if err != nil {
			return
		}
		sum := sha1.Sum([]byte(req.Header.Get("Sec-WebSocket-Key") + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
		_, _ = io.WriteString(c, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: "+
			base64.StdEncoding.EncodeToString(sum[:])+"\r\n\r\n"+string(frames))
		_ = c.CloseWrite()
		_, _ = io.Copy(got, in)
	}
}

func TestWebSocket_EndsWellOnlyWithACloseFrame(t *testing.T) {
	long := append([]byte{0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0}, make([]byte, 1<<16)...)
	ping, pong := []byte{0x89, 2, 'h', 'i'}, "\x8a\x82\x00\x00\x00\x00hi"
	bye, byeBack := []byte{0x88, 5, 3, 0xe9, 'b', 'y', 'e'}, "\x88\x82\x00\x00\x00\x00\x03\xe9"
	for name, c := range map[string]struct {
		frames []byte
		says   string // the client
		want   failure
		text   string
	}{
		"closed":                    {bye, byeBack, "", ""},
		"closed without a code":     {[]byte{0x88, 0}, "\x88\x80\x00\x00\x00\x00", "", ""},
		"a ping, a message, closed": {slices.Concat(ping, long, bye), pong + byeBack, "", ""},
		"the end":                   {nil, "", cut, "without a close frame"},
		"a ping and the end":        {ping, pong, cut, "without a close frame"},
		"half a message":            {long[:100], "", cut, "without a close frame"},
		"half a length":             {long[:4], "", cut, "without a close frame"},
		"a masked frame":            {[]byte{0x82, 0x80, 0, 0, 0, 0}, "", otherwise, "masked"},
		"a long ping":               {append([]byte{0x89, 126, 0, 200}, make([]byte, 200)...), "", otherwise, "200 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			tr := newTraffic(nil, 1)
			defer tr.stop()
			var got bytes.Buffer
			said := make(chan string, 1)
			at := accepting(t, func(conn *net.TCPConn) { upgrading(c.frames, &got)(conn); said <- got.String() })
			tr.oneWebSocket(targets(t, Target{URL: "ws://" + at})[0])
			var failed result
			if len(tr.failed) > 0 {
				failed = tr.failed[0]
			}
			if failed.failure != c.want || !strings.Contains(failed.text, c.text) || !tr.had(webSocket) {
				t.Errorf("%q, %q; want %q with %q", failed.failure, failed.text, c.want, c.text)
			}
			if got := <-said; got != c.says {
				t.Errorf("the client has sent %q, want %q", got, c.says)
			}
		})
	}
}

func TestWebSocket_WantsTheAnswerToItsHandshake(t *testing.T) {
	for name, c := range map[string]struct {
		answer string
		want   failure
		text   string
	}{
		"not found":     {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", otherwise, "404"},
		"out of order":  {"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n", serverSaid, "503"},
		"another's key": {"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nSec-WebSocket-Accept: x\r\n\r\n", otherwise, "Accept"},
		"nothing":       {"", dropped, "EOF"},
	} {
		tr := newTraffic(nil, 1)
		tr.oneWebSocket(targets(t, Target{URL: "ws://" + accepting(t, replies(c.answer))})[0])
		tr.stop()
		if len(tr.failed) != 1 || tr.failed[0].failure != c.want || tr.failed[0].client != newConnection || !strings.Contains(tr.failed[0].text, c.text) {
			t.Errorf("%s: %+v, want %q with %q", name, tr.failed, c.want, c.text)
		}
	}
}

func TestStream_EndsWellOnlyWithItsEnd(t *testing.T) {
	const header = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
	for name, c := range map[string]struct {
		answer string
		client client
		want   failure
	}{
		"the last chunk":                        {header + "5\r\nhello\r\n0\r\n\r\n", stream, ""},
		"no last chunk":                         {header + "5\r\nhello\r\n", stream, cut},
		"nothing but a head":                    {header, stream, cut},
		"half a head":                           {"HTTP/1.1 200 OK\r\nTransf", newConnection, cut},
		"no answer":                             {"", newConnection, dropped},
		"no such stream":                        {"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", stream, serverSaid},
		"an end that cannot be told from a cut": {"HTTP/1.0 200 OK\r\n\r\nhello", stream, ""},
	} {
		tr := newTraffic(nil, 1)
		tr.oneStream(targets(t, Target{URL: "http://" + accepting(t, replies(c.answer)), Use: Stream})[0])
		tr.stop()
		var failed result
		if len(tr.failed) > 0 {
			failed = tr.failed[0]
		}
		if failed.failure != c.want || c.want != "" && failed.client != c.client || c.want == "" && !tr.had(stream) {
			t.Errorf("%s: %q of %q, want %q of %q: %s", name, failed.failure, failed.client, c.want, c.client, failed.text)
		}
	}
}

// streaming is an HTTP/2 server that begins an answer, sends some frames, and then, once the client
// has read them, the last ones. It tells whether the client has left meanwhile.
func streaming(left *atomic.Bool, frames, last []byte) func(*net.TCPConn) {
	const headers, settings, ping = 1, 4, 6
	return func(c *net.TCPConn) {
		in := bufio.NewReader(c)
		_, _ = in.Discard(len("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"))
		_, _ = c.Write(frameOf(settings, 0))
		for pings := 0; ; {
			head := make([]byte, frameHeader)
			if _, err := io.ReadFull(in, head); err != nil {
				return
			}
			_, _ = in.Discard(int(head[0])<<16 | int(head[1])<<8 | int(head[2]))
			switch head[3] {
			case headers:
				const status200, endOfHeaders = 0x88, 4
				answer := frameOf(headers, 1, status200)
				answer[4] = endOfHeaders
				_, _ = c.Write(slices.Concat(answer, frames, frameOf(ping, 0, make([]byte, 8)...)))
			case frameReset:
				left.Store(true)
				return
			case ping: // the answer to one
				if pings++; pings == 1 { // by the second one the client has acted on the frames
					_, _ = c.Write(frameOf(ping, 0, make([]byte, 8)...))
					continue
				}
				if _, _ = c.Write(last); last == nil {
					return
				}
			}
		}
	}
}

// GracefulStop of gRPC-Go sends a GOAWAY and waits for streams. Stop then closes the connections.
func TestStreamHTTP2_OfGRPCOutlivesAGoAway(t *testing.T) {
	away := frameOf(frameGoAway, 0, 0, 0, 0, 1, 0, 0, 0, 0)
	status := frameOf(1, 1, slices.Concat([]byte{0, 11}, []byte("grpc-status"), []byte{1, '0'})...)
	status[4] = 5 // the end of the headers and of the stream
	for name, c := range map[string]struct {
		frames, last []byte
		want         failure
	}{
		"a status":                  {away, status, ""},
		"a status and no GOAWAY":    {nil, status, ""},
		"the end of the connection": {away, nil, ""},
		"the end without a GOAWAY":  {nil, nil, cut},
		"a reset":                   {away, frameOf(frameReset, 1, 0, 0, 0, 8), cut},
		"no status":                 {away, []byte{0, 0, 0, 0, 1, 0, 0, 0, 1}, otherwise},
		"the end in a message":      {slices.Concat(away, frameOf(0, 1, 0, 0, 0, 0, 9)), nil, ""},
	} {
		tr := newTraffic(nil, 1)
		var left atomic.Bool
		tr.oneStreamHTTP2(targets(t, Target{URL: "grpc://" + accepting(t, streaming(&left, c.frames, c.last))})[0].watch)
		tr.stop()
		var failed result
		if len(tr.failed) > 0 {
			failed = tr.failed[0]
		}
		if failed.failure != c.want || !tr.had(stream) || left.Load() {
			t.Errorf("%s: %q, want %q, and left %v: %s", name, failed.failure, c.want, left.Load(), failed.text)
		}
	}
}

func TestTCP_IsAnsweredByWhatIsExpectedAByteOrNothingButPatience(t *testing.T) {
	says := func(text string) func(*net.TCPConn) {
		return func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 9)); _, _ = io.WriteString(c, text) }
	}
	for name, c := range map[string]struct {
		body, answer string
		server       func(*net.TCPConn)
		want         failure
	}{
		"an answer":             {"ping\n", "", says("pong\n"), ""},
		"no answer":             {"ping\n", "", says(""), dropped},
		"a greeting":            {"", "", func(c *net.TCPConn) { _, _ = io.WriteString(c, "220\n"); _, _ = io.Copy(io.Discard, c) }, ""},
		"patience":              {"", "", func(c *net.TCPConn) { _, _ = io.Copy(io.Discard, c) }, ""},
		"closed without a word": {"", "", func(c *net.TCPConn) { _ = c.CloseWrite(); _, _ = io.Copy(io.Discard, c) }, dropped},
		"reset without a word":  {"ping\n", "", func(c *net.TCPConn) { _, _ = c.Read(make([]byte, 9)); _ = c.SetLinger(0) }, reset},
		"the right answer":      {"ping\n", "+po", says("+pong\n"), ""},
		"an error":              {"ping\n", "+pong\n", says("-no\n"), serverSaid},
		"half an answer":        {"ping\n", "+pong\n", says("+po"), cut},
		"nothing":               {"ping\n", "+pong\n", says(""), dropped},
		"the right greeting":    {"", "220", func(c *net.TCPConn) { _, _ = io.WriteString(c, "220\n") }, ""},
		"a wrong greeting":      {"", "220", func(c *net.TCPConn) { _, _ = io.WriteString(c, "421 stopping\n") }, serverSaid},
	} {
		tr := newTraffic(nil, 1)
		tr.connectOnce(targets(t, Target{URL: "tcp://" + accepting(t, c.server), Body: c.body, Answer: c.answer})[0])
		tr.stop()
		var failed result
		if len(tr.failed) > 0 {
			failed = tr.failed[0]
		}
		if failed.failure != c.want || tr.counts().answered+len(tr.failed) != 1 {
			t.Errorf("%s: %q, %q; want %q", name, failed.failure, failed.text, c.want)
		}
	}
}
