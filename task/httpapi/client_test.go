package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// verbs are the methods that both clients have.
type verbs interface {
	Enqueue(ctx context.Context, kind string, payload []byte, opt *task.EnqueueOptions) (task.EnqueueResult, error)
	EnqueueMany(ctx context.Context, tasks []task.NewTask) ([]task.EnqueueResult, error)
	Get(ctx context.Context, id string) (task.Task, error)
	Find(ctx context.Context, q task.Query) ([]task.Task, error)
	Count(ctx context.Context) (task.Counts, error)
	History(ctx context.Context, id string) ([]task.RunRecord, error)
	Log(ctx context.Context, id string) ([]byte, error)
	Workers(ctx context.Context) ([]task.WorkerInfo, error)
	Cancel(ctx context.Context, id string) error
	Steps(ctx context.Context, id string) ([]task.StepRecord, error)
	Retry(ctx context.Context, id string, opt *task.RetryOptions) error
	Interrupt(ctx context.Context, id string) error
	Pause(context.Context, string, *task.PauseOptions) error
	Resume(ctx context.Context, queue string) error
	Wait(ctx context.Context, id string) (task.Task, error)
}

var (
	_ verbs = (*Client)(nil)
	_ verbs = (*task.Client)(nil)
)

// numbers returns the counts, without what only a store returns.
func numbers(c verbs) (any, error) {
	counts, err := c.Count(context.Background())
	counts.Digest = 0
	return counts, err
}

// TestClient_BothClientsTellTheSame asks the store's client and the server's client the same
// questions.
func TestClient_BothClientsTellTheSame(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		var mux task.Mux
		task.Handle(&mux, task.Kind[any]{Name: "k", MaxAttempts: 1}, func(ctx context.Context, r *task.Run, arg any) error {
			r.Log("hello")
			r.SetProgress(1, "done")
			if _, err := task.Step(ctx, r, "a/1", func(context.Context) (any, error) { return arg, nil }); err != nil {
				return err
			}
			if err := task.EachOf(ctx, r, "b", []int{1}, func(context.Context, int) error { return nil }); err != nil {
				return err
			}
			if arg == "fail" {
				return errors.New("as asked")
			}
			return r.SetResult(map[string]any{"answer": arg})
		})
		s.work(&mux, nil)
		remote := s.client("")
		for _, c := range []verbs{s.tasks, remote} {
			for _, payload := range []string{`"fail"`, `{"n":1}`} {
				done, err := c.Enqueue(t.Context(), "k", []byte(payload), &task.EnqueueOptions{Queue: "q/r", Priority: -3, Key: "key " + payload, Delay: time.Millisecond, StartBefore: time.Hour})
				if err != nil || done.Outcome == task.OutcomeExisting {
					t.Fatalf("%T: %+v, %v", c, done, err)
				}
				if _, err := c.Wait(t.Context(), done.ID); err != nil {
					t.Fatal(err)
				}
				same(t, "Get", func(c verbs) (any, error) {
					got, err := c.Get(t.Context(), done.ID)
					got.Limits, got.CrashStreak, got.InterruptStreak = task.Limits{}, 0, 0 // not in the API
					return got, err
				}, s.tasks, remote)
				same(t, "History", func(c verbs) (any, error) { return c.History(t.Context(), done.ID) }, s.tasks, remote)
				same(t, "Steps", func(c verbs) (any, error) { return c.Steps(t.Context(), done.ID) }, s.tasks, remote)
				same(t, "Log", func(c verbs) (any, error) { return c.Log(t.Context(), done.ID) }, s.tasks, remote)
			}
		}
		if err := remote.Pause(t.Context(), "a/b", nil); err != nil {
			t.Fatal(err)
		}
		same(t, "Count", numbers, s.tasks, remote)
		if err := remote.Resume(t.Context(), "a/b"); err != nil {
			t.Fatal(err)
		}
		same(t, "Count", numbers, s.tasks, remote)
		same(t, "Workers", func(c verbs) (any, error) {
			all, err := c.Workers(t.Context())
			for i := range all {
				all[i].Seq, all[i].ListsAllRuns = 0, false
			}
			return all, err
		}, s.tasks, remote)
		same(t, "Find", func(c verbs) (any, error) {
			all, err := c.Find(t.Context(), task.Query{Kind: "k", Queue: "q/r", Status: task.StatusFailed, Limit: 1500})
			var ids []string
			for _, t := range all {
				ids = append(ids, t.ID)
			}
			return fmt.Sprint(len(ids), ids), err
		}, s.tasks, remote)
	})
}

// same compares the answers of two clients, as text, so that times in different zones are equal.
func same(t *testing.T, what string, ask func(verbs) (any, error), a, b verbs) {
	t.Helper()
	say := func(c verbs) string {
		v, err := ask(c)
		if err != nil {
			t.Errorf("%s: %v", what, err)
		}
		return inUTC(fmt.Sprintf("%+v", v))
	}
	if x, y := say(a), say(b); x != y {
		t.Errorf("%s tells\n%s\nand\n%s", what, x, y)
	}
}

// inUTC removes the zone and the monotonic clock from printed times.
func inUTC(s string) string {
	return regexp.MustCompile(` \+0000 UTC|( m=[+-][0-9.]+)`).ReplaceAllString(s, "")
}

func TestClient_TheErrorsOfAServerAreThoseOfTheStore(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		var mux task.Mux
		started, release := make(chan struct{}), make(chan struct{})
		task.Handle(&mux, task.Kind[any]{Name: "k"}, func(_ context.Context, _ *task.Run, arg any) error {
			if arg == "wait" {
				close(started)
				<-release
			}
			return nil
		})
		s.work(&mux, nil)
		remote := s.client("")
		enqueue := func(payload string) string {
			done, err := remote.Enqueue(t.Context(), "k", []byte(payload), nil)
			if err != nil {
				t.Fatal(err)
			}
			return done.ID
		}
		ended, runs := enqueue("1"), enqueue(`"wait"`)
		<-started
		if _, err := remote.Wait(t.Context(), ended); err != nil {
			t.Fatal(err)
		}
		for _, c := range []struct {
			name string
			ask  func(verbs) error
			want error
		}{
			{"Get", func(c verbs) error { _, err := c.Get(t.Context(), someID); return err }, task.ErrNotFound},
			{"History", func(c verbs) error { _, err := c.History(t.Context(), someID); return err }, task.ErrNotFound},
			{"Log", func(c verbs) error { _, err := c.Log(t.Context(), someID); return err }, task.ErrNotFound},
			{"Cancel", func(c verbs) error { return c.Cancel(t.Context(), someID) }, task.ErrNotFound},
			{"Cancel an ended one", func(c verbs) error { return c.Cancel(t.Context(), ended) }, task.ErrAlreadyFinished},
			{"Retry a running one", func(c verbs) error { return c.Retry(t.Context(), runs, nil) }, task.ErrRunning},
			{"Interrupt an ended one", func(c verbs) error { return c.Interrupt(t.Context(), ended) }, task.ErrNotRunning},
			{"Pause nothing", func(c verbs) error { return c.Pause(t.Context(), "", nil) }, nil},
			{"Pause nonsense", func(c verbs) error { return c.Pause(t.Context(), "a b", nil) }, task.ErrInvalid},
			{"Enqueue nonsense", func(c verbs) error { _, err := c.Enqueue(t.Context(), "a b", []byte("1"), nil); return err }, task.ErrInvalid},
		} {
			for _, client := range []verbs{s.tasks, remote} {
				if err := c.ask(client); err == nil || c.want != nil && !errors.Is(err, c.want) {
					t.Errorf("%s of %T: %v, want %v", c.name, client, err, c.want)
				}
			}
		}
		close(release)
	})
}

func TestClient_SubmittingManyKeepsTheOrderAndMayBeRepeated(t *testing.T) {
	s := serve(t, Config{})
	c := s.client("")
	var tasks []task.NewTask
	for i := range maxBatchLines + 7 {
		opt := &task.EnqueueOptions{}
		if i%4000 == 3 {
			opt.Key = "same"
		}
		n, err := task.Prepare("k", fmt.Appendf(nil, "{\n%q: %d}", "<n>", i), opt)
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, n)
	}
	for again := range 2 {
		done, err := c.EnqueueMany(t.Context(), tasks)
		if err != nil || len(done) != len(tasks) {
			t.Fatalf("%d, %v", len(done), err)
		}
		for i, d := range done {
			keyed := i%4000 == 3
			if want := again == 1 || keyed && i > 3; (d.Outcome == task.OutcomeExisting) != want || !keyed && d.ID != tasks[i].ID || keyed && d.ID != tasks[3].ID {
				t.Fatalf("task %d: %+v, existed should be %v", i, d, want)
			}
		}
	}
	got, err := c.Get(t.Context(), tasks[5].ID)
	if err != nil || string(got.Payload) != `{"<n>":5}` {
		t.Errorf("%s, %v", got.Payload, err)
	}
	all, err := c.Find(t.Context(), task.Query{Limit: 1100})
	if err != nil || len(all) != 1100 || all[1099].ID != tasks[len(tasks)-1100].ID {
		t.Errorf("%d tasks, %v", len(all), err)
	}
	if _, err := c.EnqueueMany(t.Context(), []task.NewTask{{Payload: []byte("no JSON")}}); !errors.Is(err, task.ErrInvalid) {
		t.Errorf("%v", err)
	}
}

func TestClient_AQueueThatNobodyNamedIsTheServersChoice(t *testing.T) {
	s := serve(t, Config{Queues: map[string]string{"k": "images"}})
	c := s.client("")
	var tasks []task.NewTask
	for _, queue := range []string{"", "default"} {
		one, err := task.Prepare("k", []byte("1"), nil)
		if err != nil {
			t.Fatal(err)
		}
		one.Queue = queue
		tasks = append(tasks, one)
	}
	many, err := c.EnqueueMany(t.Context(), tasks)
	if err != nil {
		t.Fatal(err)
	}
	one, err := c.Enqueue(t.Context(), "k", []byte("1"), nil)
	if err != nil {
		t.Fatal(err)
	}
	named, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Queue: "default"})
	if err != nil {
		t.Fatal(err)
	}
	for i, done := range append(many, one, named) {
		want := []string{"images", "default"}[i%2]
		if got, err := c.Get(t.Context(), done.ID); err != nil || got.Queue != want {
			t.Errorf("task %d waits in %q, want %q (%v)", i, got.Queue, want, err)
		}
	}
}

func TestClient_ShowsItsTokenAndHearsWhatItLacks(t *testing.T) {
	s := serve(t, Config{Tokens: openTokens(t, "reader read "+readSecret)})
	c := s.client(readSecret)
	if _, err := c.Find(t.Context(), task.Query{}); err != nil {
		t.Error(err)
	}
	p := (*Problem)(nil)
	if err := c.Pause(t.Context(), "q", nil); !errors.As(err, &p) || p.Status != http.StatusForbidden || strings.Contains(err.Error(), readSecret) {
		t.Errorf("%v", err)
	}
	var all []error
	for _, err := range s.client("").Events(t.Context(), "") {
		all = append(all, err)
	}
	if len(all) != 1 || !errors.As(all[0], &p) || p.Status != http.StatusUnauthorized {
		t.Errorf("a refused listener: %v", all)
	}
}

func TestClient_AListenerComesBackWhenTheServerDoes(t *testing.T) {
	var h http.Handler
	broken := true
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if broken {
			broken = false
			panic(http.ErrAbortHandler)
		}
		h.ServeHTTP(w, r)
	}))
	defer front.Close()
	s := serve(t, Config{})
	h = s.handler
	c, err := NewClient(ClientConfig{Server: front.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	var got []string
	for e, err := range c.Events(t.Context(), "") {
		if err != nil {
			got = append(got, "broken")
			continue
		}
		got = append(got, string(e.Type))
		break
	}
	if !slices.Equal(got, []string{"broken", "reset"}) {
		t.Errorf("%q", got)
	}
}

func TestClient_WhatIsNoServerOfOursIsSaid(t *testing.T) {
	var status int
	other := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if status == http.StatusFound {
			w.Header().Set("Location", "http://127.0.0.1:1/")
		}
		w.WriteHeader(status)
		fmt.Fprint(w, "<html>")
	}))
	defer other.Close()
	c, err := NewClient(ClientConfig{Server: other.URL + "/"})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	for code, want := range map[int]string{200: "is that a lastcall server?", 302: "is there another program", 404: "is there another program", 500: "is there another program"} {
		status = code
		if _, err := c.Count(t.Context()); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), other.URL) {
			t.Errorf("%d: %v", code, err)
		}
	}
	other.Close()
	if _, err := c.Count(t.Context()); err == nil || !strings.Contains(err.Error(), "is \"lastcall serve\" running there?") {
		t.Errorf("nobody there: %v", err)
	}
	for _, address := range []string{"", "127.0.0.1:8321", "ftp://x", "http://", "http://user:secret@host", "http://h/?q=secret", ":"} {
		if _, err := NewClient(ClientConfig{Server: address}); err == nil || strings.Contains(err.Error(), "secret") || !strings.Contains(err.Error(), "http://127.0.0.1:8321") {
			t.Errorf("%q: %v", address, err)
		}
	}
}

func TestClient_AnUnansweredCallEndsWithItsContext(t *testing.T) {
	release := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release }))
	defer silent.Close()
	defer close(release)
	c, err := NewClient(ClientConfig{Server: silent.URL})
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	why := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	time.AfterFunc(20*time.Millisecond, func() { cancel(why) })
	if _, err := c.Wait(ctx, someID); !errors.Is(err, why) {
		t.Errorf("%v", err)
	}
}
