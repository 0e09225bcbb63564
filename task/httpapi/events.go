package httpapi

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"time"
)

const (
	// streamBeat is how often a stream without events sends a sign of life, and the client's token is
	// checked again.
	streamBeat = 15 * time.Second
	// streamPatience is how long a client may take to read what was written.
	streamPatience = 10 * time.Second
	// streamPart bounds the events that are written at once.
	streamPart = 256
)

// events is a stream of changes in the format of browsers' EventSource. It ends at last call, when
// the client is gone or reads too slowly, and when its token is no longer valid.
func (h *Handler) events(a *answer, r *http.Request) error {
	stopping := h.stopping(r.Context())
	if r.Method == http.MethodHead {
		startStream(a)
		return nil
	}
	select {
	case <-stopping:
		// No error: EventSource would not reconnect, and after the stop there is a successor.
		s := stream{a: a, r: r, h: h}
		startStream(a)
		s.stops()
		return nil
	default:
	}
	if !h.hub.join() {
		return problem("too-many-streams", "there are %d streams of events already: close one, or ask for what you need with GET", maxStreams)
	}
	defer h.hub.leave()
	ctx, cancel := withStoreTimeout(r)
	err := h.hub.begin(ctx)
	cancel()
	if err != nil {
		return err
	}
	s := stream{a: a, r: r, h: h, next: h.hub.resume(r.Header.Get("Last-Event-ID"))}
	// The server's limits are for requests that end.
	_ = http.NewResponseController(a).SetReadDeadline(time.Time{}) // or the connection has none
	startStream(a)
	s.run(stopping)
	return nil
}

func startStream(a *answer) {
	a.Header().Set("Content-Type", "text/event-stream")
	a.Header().Set("X-Accel-Buffering", "no") // nginx would keep events back
	a.WriteHeader(http.StatusOK)
}

// stream is one listener.
type stream struct {
	h    *Handler
	a    *answer
	r    *http.Request
	next uint64 // the number of the next event; 0 before the first one
	// complained: the store has failed, and the stream has said so.
	complained bool
}

// run writes events until there is a reason to end.
func (s *stream) run(stopping <-chan struct{}) {
	beat := time.NewTicker(s.h.beat)
	defer beat.Stop()
	poll := time.NewTicker(s.h.hub.every)
	defer poll.Stop()
	var buf bytes.Buffer
	buf.WriteString("retry: 1000\n\n")
	for {
		more := s.gather(&buf)
		if s.write(&buf) != nil {
			return
		}
		select {
		case <-more:
		case <-poll.C:
			s.poll()
		case <-beat.C:
			if !s.admitted() {
				return
			}
			buf.WriteString(": alive\n\n")
		case <-stopping:
			s.stops()
			return
		case <-s.r.Context().Done():
			return
		}
	}
}

// gather puts the next events into buf and returns a channel that closes when there are more.
func (s *stream) gather(buf *bytes.Buffer) <-chan struct{} {
	atOnce := make(chan struct{})
	close(atOnce)
	events, more, ok := s.h.hub.after(s.next, streamPart)
	if !ok {
		why := "this stream is new"
		if s.next > 0 || s.r.Header.Get("Last-Event-ID") != "" {
			why = "the events that followed the last one are no longer here"
		}
		s.next = s.h.hub.mark()
		s.put(buf, EventReset, s.next-1, detail(why+": list everything you need again"))
		return atOnce // the next turn handles what has come in between
	}
	for _, e := range events {
		if e.data != nil {
			s.put(buf, e.kind, e.number, e.data)
		}
		s.next = e.number + 1
	}
	if len(events) == streamPart {
		return atOnce
	}
	return more
}

func (s *stream) put(buf *bytes.Buffer, kind EventType, number uint64, data []byte) {
	// JSON has no line breaks.
	fmt.Fprintf(buf, "id: %s\nevent: %s\ndata: %s\n\n", s.h.hub.id(number), kind, data)
}

// detail returns the data of an event that has a text for people.
func detail(text string) []byte {
	b, err := json.Marshal(map[string]string{"detail": text})
	if err != nil { // a text always encodes
		return []byte("{}")
	}
	return b
}

// write sends what is in buf.
func (s *stream) write(buf *bytes.Buffer) error {
	if buf.Len() == 0 {
		return nil
	}
	rc := http.NewResponseController(s.a)
	_ = rc.SetWriteDeadline(time.Now().Add(s.h.reading)) // or the connection has none
	if _, err := buf.WriteTo(s.a); err != nil {
		return err
	}
	return rc.Flush()
}

// stops sends the event that the server stops.
func (s *stream) stops() {
	var buf bytes.Buffer
	fmt.Fprintf(&buf, "retry: 1000\nevent: %s\ndata: %s\n\n", EventStopping, detail("this server stops: go on at another, or at its successor"))
	_ = s.write(&buf) // the client may be gone
}

// poll asks the store what other processes have done.
func (s *stream) poll() {
	ctx, cancel := withStoreTimeout(s.r)
	defer cancel()
	err := s.h.hub.pollIfDue(ctx)
	if err != nil && !s.complained && s.r.Context().Err() == nil {
		s.h.log.Warn("events: the store does not answer; trying again", "error", err)
	}
	s.complained = err != nil
}

// admitted reports whether the client's token still allows it to listen.
func (s *stream) admitted() bool {
	if s.h.tokens == nil {
		return true
	}
	_, err := s.h.tokens.admit(s.r.Header, RoleRead)
	return err == nil
}
