package httpapi

import (
	"errors"
	"io"
	"net/http"
	"time"
)

// unreadPatience is how long a client that was answered may go on sending a body that nobody reads.
// If the connection were closed at once the answer might be lost with it.
const unreadPatience = time.Second

// watchBody closes the connection of a request after the answer, unless the body is read to its end
// before that. Otherwise package http would read the rest of the body, and wait for a client that
// has announced one and sends nothing: before it answers, and for as long as a request may take, in
// a stop as well. It returns the request to be served, which is a copy: package http needs its own
// body to close a connection gently. Call served when the request was served.
func watchBody(w http.ResponseWriter, r *http.Request) (watched *http.Request, served func()) {
	if _, already := r.Body.(*watchedBody); already || r.ContentLength == 0 || r.ProtoMajor != 1 {
		return r, func() {}
	}
	body := &watchedBody{ReadCloser: r.Body, header: w.Header()}
	if body.keeps = body.header.Get("Connection") == ""; body.keeps { // otherwise the server stops
		body.header.Set("Connection", "close")
	}
	watched = new(http.Request)
	*watched = *r
	watched.Body = body
	return watched, func() {
		if !body.ended {
			// An error means that the connection has no deadlines.
			_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(unreadPatience))
		}
	}
}

// watchedBody is a request's body; the connection is kept only if the body is read to its end.
type watchedBody struct {
	io.ReadCloser
	header http.Header
	keeps  bool // the connection, at its end
	ended  bool
}

// Read implements io.Reader.
func (b *watchedBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if !b.ended && errors.Is(err, io.EOF) {
		if b.ended = true; b.keeps {
			b.header.Del("Connection")
		}
	}
	return n, err
}
