package httpapi

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// listener reads the events of a site.
type listener struct {
	t      testing.TB
	events chan Event
	stop   context.CancelFunc
	done   sync.WaitGroup
}

// listen starts a listener, and waits until the server knows it: the first event has come, which is
// returned.
func (s *site) listen(after string) (*listener, Event) {
	s.t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	l := &listener{t: s.t, events: make(chan Event, 10*ringSize), stop: stop}
	client := s.client("")
	l.done.Go(func() {
		for e, err := range client.Events(ctx, after) {
			if err != nil {
				e = Event{Detail: err.Error()}
			}
			l.events <- e
		}
	})
	s.t.Cleanup(l.close)
	return l, l.next()
}

func (l *listener) close() {
	l.stop()
	l.done.Wait()
}

func (l *listener) next() Event {
	l.t.Helper()
	select {
	case e := <-l.events:
		return e
	case <-time.After(patience):
		l.t.Fatal("no event came")
	}
	return Event{}
}

// task waits for an event in which a task has a status, and returns the events about the task until
// then.
func (l *listener) task(id string, status task.Status) (seen []TaskEvent) {
	l.t.Helper()
	for {
		e := l.next()
		if e.Type != EventTask || e.Task.ID != id {
			continue
		}
		seen = append(seen, e.Task)
		if e.Task.Status == status {
			return seen
		}
	}
}

func statuses(events []TaskEvent) string {
	var all []string
	for _, e := range events {
		all = append(all, string(e.Status))
	}
	return strings.Join(all, " ")
}

func TestEvents_AListenerHearsWhatIsSubmittedAskedAndDoneHere(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		l, first := s.listen("")
		if first.Type != EventReset || first.ID == "" || !strings.Contains(first.Detail, "list everything") {
			t.Errorf("the first event: %+v", first)
		}
		var other submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "none", "payload": 1, "queue": "q"}`), http.StatusCreated, &other)
		if got := l.task(other.ID, task.StatusQueued); got[0].Kind != "none" || got[0].Queue != "q" || got[0].At.IsZero() {
			t.Errorf("%+v", got)
		}
		s.ask("POST", "/v1/tasks/"+other.ID+"/cancel", "")
		l.task(other.ID, task.StatusCancelled)
		s.ask("POST", "/v1/tasks/"+other.ID+"/retry", "")
		l.task(other.ID, task.StatusQueued)

		var mux task.Mux
		task.Handle(&mux, task.Kind[any]{Name: "fails", MaxAttempts: 1}, func(context.Context, *task.Run, any) error { return errors.New("no luck") })
		s.work(&mux, s.handler.Observe)
		var j submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "fails", "payload": 1}`), http.StatusCreated, &j)
		got := l.task(j.ID, task.StatusFailed)
		if s := statuses(got); s != "queued running failed" && s != "running failed" {
			t.Errorf("%s", s)
		}
		if last := got[len(got)-1]; last.Error != "no luck" || last.Run == 0 || last.Worker == "" {
			t.Errorf("%+v", last)
		}
	})
}

func TestEvents_TheLastEventOfATaskIsItsEndHoweverFastItIs(t *testing.T) {
	s := serve(t, Config{PollInterval: 5 * time.Millisecond})
	var mux task.Mux
	task.Handle(&mux, task.Kind[any]{Name: "k"}, nothing)
	s.work(&mux, s.handler.Observe)
	l, _ := s.listen("")
	const n = 300
	for range n {
		if _, err := s.client("").Enqueue(t.Context(), "k", []byte("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	last := make(map[string]task.Status)
	until(t, "every task has ended", func() bool {
		for {
			select {
			case e := <-l.events:
				if e.Type == EventTask {
					last[e.Task.ID] = e.Task.Status
				}
				continue
			default:
			}
			break
		}
		ended := 0
		for _, s := range last {
			if s == task.StatusSucceeded {
				ended++
			}
		}
		return ended == n
	})
}

func TestEvents_AListenerHearsWhatOtherProcessesDo(t *testing.T) {
	path := filepath.Join(t.TempDir(), "tasks.db")
	s := serve(t, Config{Store: openSQLite(t, path), PollInterval: 10 * time.Millisecond})
	elsewhere := serve(t, Config{Store: openSQLite(t, path)})
	l, _ := s.listen("")
	release := make(chan struct{})
	var mux task.Mux
	task.Handle(&mux, task.Kind[any]{Name: "k"}, func(ctx context.Context, r *task.Run, _ any) error {
		r.SetProgress(0.5, "half")
		if err := r.Save(ctx, 1); err != nil {
			return err
		}
		<-release
		return nil
	})
	done, err := elsewhere.tasks.Enqueue(t.Context(), "k", []byte("1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	l.task(done.ID, task.StatusQueued)
	elsewhere.work(&mux, nil)
	for {
		if got := l.task(done.ID, task.StatusRunning); got[0].Progress != nil {
			if p := *got[0].Progress; p != (Progress{0.5, "half"}) || got[0].Worker == "" {
				t.Errorf("%+v", got[0])
			}
			break
		}
	}
	close(release)
	l.task(done.ID, task.StatusSucceeded)
	for {
		e := l.next()
		if e.Type == EventCounts && len(e.Counts.Tasks) == 1 && e.Counts.Tasks[0] == (task.Count{Queue: "default", Kind: "k", Status: task.StatusSucceeded, N: 1}) {
			break
		}
	}
	if err := elsewhere.tasks.Pause(t.Context(), "q", nil); err != nil {
		t.Fatal(err)
	}
	for {
		if e := l.next(); e.Type == EventCounts && fmt.Sprint(e.Counts.Paused) == "[q]" {
			break
		}
	}
}

func TestEvents_AStreamIsResumedBehindTheLastEvent(t *testing.T) {
	s := serve(t, Config{})
	l, _ := s.listen("")
	submit := func() string {
		var j submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`), http.StatusCreated, &j)
		return j.ID
	}
	id := submit()
	var last Event
	for last.Task.ID != id {
		last = l.next()
	}
	l.close()
	missed := []string{submit(), submit()}
	again, e := s.listen(last.ID)
	for _, want := range missed {
		for e.Type == EventCounts {
			e = again.next()
		}
		if e.Type != EventTask || e.Task.ID != want {
			t.Fatalf("%+v, want task %s", e, want)
		}
		last = e
		if want != missed[1] {
			e = again.next()
		}
	}
	again.close()

	for name, after := range map[string]string{"another process": "abcdefghij-3", "nonsense": "x", "the future": s.handler.hub.id(1 << 40)} {
		if _, e := s.listen(after); e.Type != EventReset || !strings.Contains(e.Detail, "no longer here") {
			t.Errorf("%s: %+v", name, e)
		}
	}
	s.handler.hub.mu.Lock()
	for range ringSize + 1 {
		s.handler.hub.tell(EventTask, someID, TaskEvent{ID: someID})
	}
	s.handler.hub.mu.Unlock()
	if _, e := s.listen(last.ID); e.Type != EventReset {
		t.Errorf("after more events than are kept: %+v", e)
	}
}

func TestEvents_WhoComesBackTooLateIsReset(t *testing.T) {
	s := serve(t, Config{})
	l, first := s.listen("")
	l.close()
	until(t, "the stream has ended", func() bool {
		s.handler.hub.mu.Lock()
		defer s.handler.hub.mu.Unlock()
		s.handler.hub.left = s.handler.hub.left.Add(-remembered)
		return s.handler.hub.streams == 0
	})
	if s.handler.hub.listened() {
		t.Error("events are still kept")
	}
	if _, e := s.listen(first.ID); e.Type != EventReset {
		t.Errorf("%+v", e)
	}
}

func TestEvents_StreamsEndAtLastCallAndNewOnesTooAndSubmitsGoOn(t *testing.T) {
	lastCall := make(chan struct{})
	s := serve(t, Config{Stopping: func(context.Context) <-chan struct{} { return lastCall }})
	l, _ := s.listen("")
	close(lastCall)
	for {
		e := l.next()
		if e.Type == EventStopping {
			break
		}
	}
	if e := l.next(); !strings.Contains(e.Detail, "has ended") {
		t.Errorf("%+v", e)
	}
	r := s.ask("GET", "/v1/events", "") // returns, since the stream ends
	if r.status != http.StatusOK || !strings.Contains(r.body, "event: stopping\n") || !strings.Contains(r.body, "retry: 1000\n") {
		t.Errorf("%d %q", r.status, r.body)
	}
	s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`), http.StatusCreated, new(submitted))
}

// stream opens a stream by hand.
func (s *site) stream(ctx context.Context, change ...func(*http.Request)) *bufio.Scanner {
	s.t.Helper()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, s.url+"/v1/events", nil)
	if err != nil {
		s.t.Fatal(err)
	}
	for _, c := range change {
		c(r)
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		s.t.Fatal(err)
	}
	s.t.Cleanup(func() { resp.Body.Close() })
	return bufio.NewScanner(resp.Body)
}

func TestEvents_AStreamOutlivesTheServersLimitsAndSaysThatItLives(t *testing.T) {
	s := serve(t, Config{}, func(srv *http.Server) { srv.ReadTimeout, srv.WriteTimeout = 50*time.Millisecond, 50*time.Millisecond })
	s.handler.beat = 20 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines := s.stream(ctx)
	began, beats := time.Now(), 0
	for beats < 20 && lines.Scan() {
		if lines.Text() == ": alive" {
			beats++
		}
	}
	if beats < 20 {
		t.Errorf("it ended after %d beats and %v: %v", beats, time.Since(began), lines.Err())
	}
}

func TestEvents_AStreamEndsWhenItsTokenIsNoLongerGood(t *testing.T) {
	path := tokenFile(t, "a read "+readSecret)
	tokens, err := LoadTokens(path, nil)
	if err != nil {
		t.Fatal(err)
	}
	s := serve(t, Config{Tokens: tokens})
	s.handler.beat = 10 * time.Millisecond
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	lines := s.stream(ctx, bearer(readSecret))
	for lines.Scan() && lines.Text() != ": alive" {
	}
	if err := os.WriteFile(path, []byte("a read "+submitSecret), 0o600); err != nil {
		t.Fatal(err)
	}
	settle(t, path)
	if err := tokens.Reload(t.Context()); err != nil {
		t.Fatal(err)
	}
	for lines.Scan() {
	}
	if lines.Err() != nil || ctx.Err() != nil {
		t.Errorf("%v, %v", lines.Err(), ctx.Err())
	}
}

func TestEvents_AClientThatReadsNothingIsCutOffAndHoldsUpNobody(t *testing.T) {
	s := serve(t, Config{}, func(srv *http.Server) {
		srv.ConnContext = func(ctx context.Context, c net.Conn) context.Context {
			_ = c.(*net.TCPConn).SetWriteBuffer(4096) // the system holds little
			return ctx
		}
	})
	s.handler.reading = 50 * time.Millisecond
	var d net.Dialer
	conn, err := d.DialContext(t.Context(), "tcp", strings.TrimPrefix(s.url, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := fmt.Fprint(conn, "GET /v1/events HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	streams := func() int {
		s.handler.hub.mu.Lock()
		defer s.handler.hub.mu.Unlock()
		return s.handler.hub.streams
	}
	until(t, "the stream is open", func() bool { return streams() == 1 })
	long := strings.Repeat("x", 1000)
	until(t, "the stream has been cut", func() bool {
		s.handler.hub.mu.Lock()
		// These are so few that a stream which comes to read finds some, however slow the machine.
		for range ringSize / 4 {
			s.handler.hub.tell(EventTask, someID, TaskEvent{ID: someID, Error: long})
		}
		s.handler.hub.mu.Unlock()
		return streams() == 0
	})
}

func TestEvents_TooManyStreamsAreRefused(t *testing.T) {
	s := serve(t, Config{})
	for range maxStreams {
		s.handler.hub.join()
	}
	s.refused(s.ask("GET", "/v1/events", ""), "too-many-streams", "close one")
	s.handler.hub.leave()
	s.listen("")
}

func FuzzEvents_AStreamOfEventsIsReadOrRefused(f *testing.F) {
	f.Add("id: a-1\nevent: task\ndata: {\"id\": \"x\"}\n\n: alive\n\nretry: 1000\n\n")
	f.Add("event: counts\ndata: {\"tasks\": [],\ndata: \"paused\": []}\n\nevent: reset\ndata: {}\n\n")
	f.Add("event: task\ndata: nonsense\n\n")
	f.Add("event: new\ndata\nevent\n:\n\n")
	f.Fuzz(func(t *testing.T, text string) {
		told, alive := 0, 0
		err := readEvents(bytes.NewReader([]byte(text)), func() { alive++ }, func(e Event) bool {
			told++
			switch e.Type {
			case EventTask, EventCounts, EventReset, EventStopping:
			default:
				t.Errorf("an unknown event was told: %q", e.Type)
			}
			return told < 3
		})
		if (err == nil) != (told == 3) || alive < told {
			t.Errorf("%v after %d events and %d lines", err, told, alive)
		}
	})
}

func TestEvents_ANewTaskIsToldWhateverItsID(t *testing.T) {
	store := memstore.New()
	s := serve(t, Config{Store: store, PollInterval: time.Millisecond})
	elsewhere := task.NewClient(store)
	for range maxPolledNewest + 1 {
		if _, err := elsewhere.Enqueue(t.Context(), "k", []byte("1"), nil); err != nil {
			t.Fatal(err)
		}
	}
	l, _ := s.listen("")
	const odd = "00000000-0000-4000-8000-000000000000" // smaller than all others
	if _, err := elsewhere.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{ID: odd}); err != nil {
		t.Fatal(err)
	}
	l.task(odd, task.StatusQueued)
}
