package main

import (
	"bytes"
	"context"
	"errors"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

// busyStore answers for one key that an open transaction holds it.
type busyStore struct{ task.Store }

func (s busyStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	var added []task.AddResult
	for _, n := range tasks {
		if n.Key == "held" {
			added = append(added, task.AddResult{ID: n.ID, Busy: true})
			continue
		}
		one, err := s.Store.Add(ctx, []task.NewTask{n})
		if err != nil {
			return nil, err
		}
		added = append(added, one...)
	}
	return added, nil
}

func TestSubmitMany_NamesTheLinesWhoseKeyIsBusyAndSubmitsTheOthers(t *testing.T) {
	g := newFixture(t)
	api, err := httpapi.New(httpapi.Config{Store: busyStore{g.store}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	const lines = `{"kind": "k", "payload": 1, "key": "free"}

{"kind": "k", "payload": 2, "key": "held"}
{"kind": "k", "payload": 3}`
	out, remarks, err := runWith(t, lines, "submit", "--many", "-", "--server", server.URL)
	if err == nil || !errors.Is(err, task.ErrKeyBusy) || !strings.Contains(err.Error(), "1 lines are not submitted") ||
		!strings.Contains(err.Error(), "(2 tasks are submitted") {
		t.Errorf("%v", err)
	}
	if strings.Count(out, "\n") != 2 || !strings.Contains(remarks, `line 3 is not submitted: an open transaction holds its key "held"`) {
		t.Errorf("printed %q, and %q beside it", out, remarks)
	}
	if c, err := g.client.Count(t.Context()); err != nil || len(c.Tasks) != 1 || c.Tasks[0].N != 2 {
		t.Errorf("%+v, %v", c, err)
	}
	_, _, err = run(t, "submit", "k", "1", "--key", "held", "--server", server.URL)
	if !errors.Is(err, task.ErrKeyBusy) {
		t.Errorf("a single one: %v", err)
	}
}

func TestMeter_WhereNobodyWatchesAMeterPrintsOnlyNews(t *testing.T) {
	var b bytes.Buffer
	m := newMeter(&b)
	for i := range 100 {
		m.show(task.Task{Status: task.StatusRunning, Progress: task.Progress{Fraction: float64(i) / 100, Message: "m"}})
	}
	m.show(task.Task{Status: task.StatusInterrupted, Reason: task.ReasonStop})
	m.close()
	if got := strings.Count(b.String(), "\n"); got != 11 || !strings.Contains(b.String(), "running   10%  m\n") || !strings.Contains(b.String(), "interrupted/stop    0%") {
		t.Errorf("%d lines:\n%s", got, &b)
	}
}

func TestMeter_FitsOnItsLine(t *testing.T) {
	one := task.Task{Status: task.StatusRunning, Runs: 3, Progress: task.Progress{Fraction: 0.5, Message: strings.Repeat("word ", 30)}}
	if got := meterLine(one, 60); len([]rune(got)) != 60 || !strings.HasPrefix(got, "████████████░░░░░░░░░░░░  50%  running, run 3  word") {
		t.Errorf("%q", got)
	}
	for fraction, want := range map[float64]string{-1: "░░", 0.5: "█░", 2: "██"} {
		if got := drawBar(fraction, 2); got != want {
			t.Errorf("%v: %q", fraction, got)
		}
	}
}

func TestPause_OfAQueueThatHasNothingAsksWhetherThatIsItsName(t *testing.T) {
	g := newFixture(t)
	if _, _, err := run(t, "submit", "k", "1", "--queue", "mail", "--store", "sqlite:"+g.path); err != nil {
		t.Fatal(err)
	}
	for queue, asks := range map[string]bool{"mail": false, "mial": true} {
		out, remarks, err := run(t, "pause", queue, "--store", "sqlite:"+g.path)
		if err != nil || out != queue+"  paused\n" || strings.Contains(remarks, "is that its name?") != asks {
			t.Errorf("%s: %q, %q, %v", queue, out, remarks, err)
		}
	}
}
