package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"mime"
	"net/http"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// Event is an event that a server has sent.
type Event struct {
	// ID is the id that Events accepts to go on after this event; a stopping event has no id of its
	// own.
	ID string
	// Type is the type of the event.
	Type EventType
	// Task belongs to EventTask, Counts to EventCounts.
	Task   TaskEvent
	Counts task.Counts
	// Detail is a text for people, of EventReset and EventStopping.
	Detail string
}

const (
	// silence is how long a stream may send nothing before it is taken for dead: three beats.
	silence = 3 * streamBeat
	// comeBack and comeBackMost are the shortest and the longest pause before a broken stream is
	// resumed.
	comeBack     = 250 * time.Millisecond
	comeBackMost = 10 * time.Second
	maxEvent     = 1 << 20
)

// Events yields what changes, until ctx ends or the loop is left. It begins after the event with
// the given id. If that is empty, or the server no longer has it, the first event is EventReset:
// list everything then; later changes follow as events.
//
// When the stream breaks or its server stops, the loop gets an error, and after a pause the stream
// is resumed after the last event; so leave the loop at an error only to give up. The error of a
// server that refuses the request is the last one.
//
//	for e, err := range client.Events(ctx, "") {
//		if err != nil {
//			log.Print(err) // and go on
//			continue
//		}
//		...
//	}
func (c *Client) Events(ctx context.Context, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		for pause := comeBack; ctx.Err() == nil; {
			left := false
			err := c.listen(ctx, &after, func(e Event) bool {
				pause = comeBack // it works
				left = !yield(e, nil)
				return !left
			})
			if left || ctx.Err() != nil {
				return
			}
			p := (*Problem)(nil)
			last := errors.As(err, &p) && p.Status < http.StatusInternalServerError
			if !yield(Event{}, err) || last {
				return
			}
			select {
			case <-ctx.Done():
			case <-time.After(pause):
			}
			pause = min(2*pause, comeBackMost)
		}
	}
}

// listen reads one stream and remembers the last id. It returns an error unless tell returns false.
func (c *Client) listen(ctx context.Context, after *string, tell func(Event) bool) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	watch := time.AfterFunc(silence, func() { cancel(fmt.Errorf("the stream of events was silent for %v", silence)) })
	defer watch.Stop()
	header := http.Header{"Accept": {"text/event-stream"}}
	if *after != "" {
		header.Set("Last-Event-ID", *after)
	}
	resp, err := c.open(ctx, http.MethodGet, "/v1/events", "", nil, header)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if media, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type")); err != nil || media != "text/event-stream" {
		return fmt.Errorf("%s: the answer is no stream of events: is there a proxy in between?", c.base)
	}
	err = readEvents(resp.Body, func() { watch.Reset(silence) }, func(e Event) bool {
		if e.ID != "" {
			*after = e.ID
		}
		return tell(e)
	})
	if cause := context.Cause(ctx); cause != nil {
		err = cause
	}
	return err
}

// readEvents reads a stream until its end, which is an error, or until tell returns false. It skips
// types of events that it does not know: a newer server may send more.
func readEvents(r io.Reader, alive func(), tell func(Event) bool) error {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxEvent)
	var (
		id, kind string
		data     []byte
		size     int
	)
	for lines.Scan() {
		alive()
		line := lines.Bytes()
		if len(line) == 0 {
			e, known, err := decodeEvent(id, EventType(kind), data)
			if err != nil {
				return err
			}
			if known && !tell(e) {
				return nil
			}
			id, kind, data, size = "", "", nil, 0
			continue
		}
		if size += len(line); size > maxEvent {
			return fmt.Errorf("an event has more than %d bytes", maxEvent)
		}
		name, value, _ := bytes.Cut(line, []byte(":"))
		value = bytes.TrimPrefix(value, []byte(" "))
		switch string(name) {
		case "id":
			id = string(value)
		case "event":
			kind = string(value)
		case "data":
			if data != nil {
				data = append(data, '\n')
			}
			data = append(data, value...)
		}
	}
	if err := lines.Err(); err != nil {
		return fmt.Errorf("the stream of events broke: %w", err)
	}
	return errors.New("the stream of events has ended: the server stops, or a proxy in between has closed it")
}

func decodeEvent(id string, kind EventType, data []byte) (e Event, known bool, err error) {
	e = Event{ID: id, Type: kind}
	switch kind {
	case EventTask:
		err = json.Unmarshal(data, &e.Task)
	case EventCounts:
		var j counts
		err = json.Unmarshal(data, &j)
		e.Counts = j.counts()
	case EventReset, EventStopping:
		var j struct{ Detail string }
		err = json.Unmarshal(data, &j)
		e.Detail = j.Detail
	default:
		return e, false, nil
	}
	if err != nil {
		return e, false, fmt.Errorf("an event %.20q is not understood: %w", strings.ToValidUTF8(string(kind), "?"), err)
	}
	return e, true, nil
}
