package proxy

import (
	"encoding/binary"
	"errors"
	"io"
	"strings"
)

// The codes that a connection may begin with instead of a startup message.
const (
	cancelRequest = 80877102
	sslRequest    = 80877103
	gssRequest    = 80877104
)

// errProtocol means that a client does not speak PostgreSQL's protocol.
var errProtocol = errors.New("what the client sends is not PostgreSQL's protocol")

// readStart reads a client's first message. It refuses encryption if the client asks for it.
func readStart(client io.ReadWriter) (message []byte, code uint32, err error) {
	for {
		head := make([]byte, 8)
		if _, err := io.ReadFull(client, head); err != nil {
			return nil, 0, err
		}
		size, code := binary.BigEndian.Uint32(head), binary.BigEndian.Uint32(head[4:])
		if size < 8 || size > 10000 { // the server's own limits
			return nil, 0, errProtocol
		}
		if code == sslRequest || code == gssRequest {
			if _, err := client.Write([]byte("N")); err != nil {
				return nil, 0, err
			}
			continue
		}
		message := make([]byte, size)
		copy(message, head)
		if _, err := io.ReadFull(client, message[8:]); err != nil {
			return nil, 0, err
		}
		return message, code, nil
	}
}

// mostKept is the largest answer that is held back: a longer one is never lost.
const mostKept = 4 << 20

// answers parses what a server sends, and can hold back the answer to a commit.
type answers struct {
	armed func() bool // reports whether answers are to be lost now
	lose  func() bool // reports whether this one is lost

	head    []byte // of the current message, at most 5 bytes
	left    int    // bytes of its body that are still to come
	body    []byte // of the current message, if its kind is parsed
	opaque  bool   // it is not a protocol that we know
	keeping bool   // since the first statement of this cycle that was executed
	kept    []byte
	done    bool // something was executed that may have been committed
	failed  bool
}

// push takes data from the server and returns what is forwarded to the client. If an answer is
// lost, the caller cuts the connection after that.
func (a *answers) push(data []byte) (out []byte, lost bool) {
	if a.opaque {
		return data, false
	}
	for len(data) > 0 {
		if len(a.head) < 5 {
			n := min(5-len(a.head), len(data))
			a.head, data = append(a.head, data[:n]...), data[n:]
			if len(a.head) < 5 {
				break
			}
			size := binary.BigEndian.Uint32(a.head[1:])
			if size < 4 || size > 1<<30 {
				out = append(append(append(out, a.kept...), a.head...), data...)
				a.opaque, a.kept = true, nil
				return out, false
			}
			a.left = int(size) - 4
			if a.head[0] == 'C' && !a.keeping && a.armed() {
				a.keeping = true
			}
			out = a.pass(out, a.head)
		}
		n := min(a.left, len(data))
		if strings.IndexByte("CEZ", a.head[0]) >= 0 {
			a.body = append(a.body, data[:n]...)
		}
		out = a.pass(out, data[:n])
		a.left, data = a.left-n, data[n:]
		if a.left == 0 {
			if a.message(a.head[0], a.body) {
				return out, true
			}
			if a.head[0] == 'Z' {
				out, a.kept = append(out, a.kept...), nil
				a.keeping, a.done, a.failed = false, false, false
			}
			a.head, a.body = a.head[:0], a.body[:0]
		}
	}
	return out, false
}

// pass forwards bytes to the client, or holds them back.
func (a *answers) pass(out, data []byte) []byte {
	if !a.keeping {
		return append(out, data...)
	}
	if a.kept = append(a.kept, data...); len(a.kept) > mostKept {
		out, a.kept, a.keeping = append(out, a.kept...), nil, false
		a.failed = true // too long: this one is not lost
	}
	return out
}

// message handles a complete message, and reports whether the answer that it ends is lost.
func (a *answers) message(kind byte, body []byte) bool {
	switch kind {
	case 'C':
		a.done = a.done || commits(strings.TrimRight(string(body), "\x00"))
	case 'E':
		a.failed = true
	case 'Z': // 'I': no transaction is open
		return a.keeping && a.done && !a.failed && string(body) == "I" && a.lose()
	}
	return false
}

// rest returns what was held back when the server's side ended.
func (a *answers) rest() []byte {
	if len(a.head) == 5 { // that was forwarded, or held back
		return a.kept
	}
	return append(a.kept, a.head...)
}

// commits reports whether a command tag is that of COMMIT, or of a statement that may have written
// something, and so has committed if no transaction is open after it.
func commits(tag string) bool {
	verb, _, _ := strings.Cut(tag, " ")
	switch verb {
	case "COMMIT", "INSERT", "UPDATE", "DELETE", "MERGE", "COPY", "SELECT":
		return tag != "COMMIT PREPARED"
	}
	return false
}
