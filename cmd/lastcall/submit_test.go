package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/httpapi"
)

func TestSubmitWithWaitEndsWithTheCodeOfTheTask(t *testing.T) {
	g := newGround(t)
	end := g.work("k", func(_ context.Context, r *task.Run, args map[string]any) error {
		r.SetProgress(0.5, "half")
		if args["fail"] == true {
			return task.Permanent(errors.New("no good"))
		}
		return nil
	})
	defer end()
	out, remarks, err := run(t, "submit", "--wait", "--store", g.address, "k", "{}")
	if id := strings.TrimSpace(out); err != nil || g.becomes(id, task.StatusSucceeded).ID != id || !strings.Contains(remarks, "succeeded") {
		t.Errorf("%q, %q, %v", out, remarks, err)
	}
	out, remarks, err = run(t, "submit", "--wait", "--json", "--store", g.address, "k", `{"fail": true}`)
	var got httpapi.Task
	if jsonErr := json.Unmarshal([]byte(out), &got); jsonErr != nil || got.Status != task.StatusFailed {
		t.Errorf("%q, %v", out, jsonErr)
	}
	var code exitError
	if !errors.As(err, &code) || code != failedCode || !strings.Contains(remarks, "no good") {
		t.Errorf("%v, %q", err, remarks)
	}
}

func TestSubmitWithWaitTellsACancelledTaskApart(t *testing.T) {
	g := newGround(t)
	id := g.submit("k", nil)
	if err := g.client.Cancel(t.Context(), id); err != nil {
		t.Fatal(err)
	}
	_, _, err := run(t, "submit", "--wait", "--id", id, "--store", g.address, "k", "{}")
	var code exitError
	if !errors.As(err, &code) || code != cancelledCode {
		t.Errorf("%v", err)
	}
}

func TestManyTasksAreSubmittedFromLinesIntoAStoreAndThroughAServer(t *testing.T) {
	g := newGround(t)
	api, err := httpapi.New(httpapi.Config{Store: g.store})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	var lines strings.Builder
	for i := range 2500 {
		fmt.Fprintf(&lines, "{\"kind\": \"k\", \"payload\": %d, \"queue\": \"q\", \"delay\": \"1h\"}\n\n", i)
	}
	for i, place := range [][]string{{"--store", g.address}, {"--server", server.URL}} {
		out, remarks, err := runWith(t, lines.String(), append([]string{"submit", "--many", "-"}, place...)...)
		if err != nil || strings.Count(out, "\n") != 2500 || !strings.Contains(remarks, "2500 tasks submitted") {
			t.Errorf("%v: %d ids, %q, %v", place, strings.Count(out, "\n"), remarks, err)
		}
		if c, err := g.client.Count(t.Context()); err != nil || len(c.Tasks) != 1 || c.Tasks[0].N != 2500*(i+1) || c.Tasks[0].Queue != "q" {
			t.Errorf("%+v, %v", c, err)
		}
	}
}

func TestALineWithoutAQueueWaitsInItsKindsQueueAtAServerAndInTheDefaultOneInAStore(t *testing.T) {
	g := newGround(t)
	api, err := httpapi.New(httpapi.Config{Store: g.store, Queues: map[string]string{"k": "images"}})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(api)
	defer server.Close()
	const lines = `{"kind": "k", "payload": 1}
{"kind": "k", "payload": 2, "queue": "default"}
{"kind": "other", "payload": 3}`
	for _, c := range []struct{ flag, address, want string }{
		{"--server", server.URL, "images default default"},
		{"--store", g.address, "default default default"},
	} {
		out, _, err := runWith(t, lines, "submit", "--many", "-", c.flag, c.address)
		if err != nil {
			t.Fatalf("%s: %v", c.flag, err)
		}
		var queues []string
		for _, id := range strings.Fields(out) {
			got, err := g.client.Get(t.Context(), id)
			if err != nil {
				t.Fatal(err)
			}
			queues = append(queues, got.Queue)
		}
		if got := strings.Join(queues, " "); got != c.want {
			t.Errorf("%s: the tasks wait in %s, want %s", c.flag, got, c.want)
		}
	}
}

func TestAWrongLineStopsAManySubmitAndTheOnesBeforeItAreKept(t *testing.T) {
	const good = `{"id": "0197c0de-0000-7000-8000-000000000001", "kind": "k", "payload": {}}`
	for bad, want := range map[string]string{
		`{"kind": "k"}`:                             `line 2: "payload" is missing`,
		`{"payload": 1}`:                            `line 2: "kind" is missing`,
		`{"kind": "k", "payload": 1, "prio": 1}`:    `line 2: it is no task: json: unknown field "prio"`,
		`{"kind": "k", "payload": 1} {}`:            "more than one JSON object",
		`{"kind": "a b", "payload": 1}`:             "only letters, digits",
		`{"kind": "k", "payload": 1, "delay": "x"}`: "use a number with its unit",
		`no`: "line 2: it is no task",
		`{"kind": "k"` + strings.Repeat(" ", maxLine+1) + `}`: "line 2: it has more than",
	} {
		g := newGround(t)
		file := filepath.Join(t.TempDir(), "tasks")
		if err := os.WriteFile(file, []byte(good+"\n"+bad+"\n"+good), 0o600); err != nil {
			t.Fatal(err)
		}
		out, _, err := run(t, "submit", "--many", file, "--json", "--store", g.address)
		if err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), "(1 tasks are submitted") {
			t.Errorf("%.60s: %v, want %q", bad, err, want)
		}
		if out != "{\"id\":\"0197c0de-0000-7000-8000-000000000001\",\"existed\":false}\n" {
			t.Errorf("%.60s: printed %q", bad, out)
		}
	}
}

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
	g := newGround(t)
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

func TestWhereNobodyWatchesAMeterPrintsOnlyNews(t *testing.T) {
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

func TestAMeterFitsOnItsLine(t *testing.T) {
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
