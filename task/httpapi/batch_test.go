package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

func (s *site) batch(body string) []batchLine {
	s.t.Helper()
	r := s.ask("POST", "/v1/tasks/batch", body)
	if r.status != http.StatusOK || r.header.Get("Content-Type") != asLines {
		s.t.Fatalf("%d %v: %s", r.status, r.header, r.body)
	}
	lines, err := decodeBatch([]byte(r.body))
	if err != nil {
		s.t.Fatalf("%v: %s", err, r.body)
	}
	return lines
}

func TestBatch_HasOneAnswerForEachLineAndABadLineHoldsBackNone(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		body := `{"id": "` + someID + `", "kind": "k", "payload": 1}` + "\n" +
			"\n" +
			`{"kind": "k"}` + "\r\n" +
			`{"kind": "k", "payload": 2, "key": "K"}` + "\r\n" +
			`nonsense` + "\n" +
			`{"kind": "k", "payload": 3, "key": "K"}` + "\n" +
			`{"id": "` + someID + `", "kind": "k", "payload": 4}` + "\n" +
			`{"id": "` + someID + `", "kind": "k", "payload": 1}` // no line break at the end
		got := s.batch(body)
		const added, existing = task.OutcomeAdded, task.OutcomeExisting
		if len(got) != 7 {
			t.Fatalf("%d answers: %+v", len(got), got)
		}
		for i, want := range []struct {
			line    int
			outcome task.Outcome
			problem string
		}{{1, added, ""}, {3, added, "payload"}, {4, added, ""}, {5, added, "not understood"}, {6, existing, ""}, {7, added, "id is another task's"}, {8, existing, ""}} {
			a := got[i]
			if a.Line != want.line || (a.Outcome == nil) != (want.problem != "") || a.Outcome != nil && *a.Outcome != want.outcome || (a.Problem != nil) != (want.problem != "") ||
				a.Problem != nil && !strings.Contains(a.Problem.Detail, want.problem) {
				t.Errorf("%+v (%v), want %+v", a, a.Problem, want)
			}
		}
		if got[0].ID != someID || got[5].ID != someID || got[6].ID != someID || got[4].ID != got[2].ID {
			t.Errorf("ids: %+v", got)
		}
		if found, err := s.tasks.Find(t.Context(), task.Query{}); err != nil || len(found) != 2 {
			t.Errorf("%d tasks, %v", len(found), err)
		}
	})
}

func TestBatch_OfTooManyLinesIsTakenUpToThereAndSaysSo(t *testing.T) {
	s := serve(t, Config{})
	line := `{"kind": "k", "payload": 1}` + "\n"
	got := s.batch(strings.Repeat(line, maxBatchLines+5))
	last := got[len(got)-1]
	if len(got) != maxBatchLines+1 || last.Line != maxBatchLines+1 || last.Problem == nil || !strings.Contains(last.Problem.Detail, "another batch") {
		t.Errorf("%d answers, the last is %+v", len(got), last)
	}
	counts, err := s.tasks.Count(t.Context())
	if err != nil || len(counts.Tasks) != 1 || counts.Tasks[0].N != maxBatchLines {
		t.Errorf("%+v, %v", counts, err)
	}
}

func TestBatch_OfTooManyBytesIsTakenUpToThereAndSaysSo(t *testing.T) {
	s := serve(t, Config{})
	s.refused(s.ask("POST", "/v1/tasks/batch", strings.Repeat(" ", maxBatchBytes+1)), "too-large", "send several")

	// Without a length said before, it is found out on the way.
	line := `{"kind": "k", "payload": "` + strings.Repeat("x", 1<<20-2) + `"}` + "\n"
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	body := io.MultiReader(strings.NewReader(strings.Repeat(line, 33)))
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.url+"/v1/tasks/batch", body)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", asLines)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	got, err := decodeBatch(b)
	if err != nil {
		t.Fatal(err)
	}
	last := got[len(got)-1]
	if len(got) != 32 || last.Line != 32 || last.Problem == nil || !strings.Contains(last.Problem.Detail, "this line and those after it") {
		t.Errorf("%d answers, the last is %+v %v", len(got), last, last.Problem)
	}
	if found, err := s.tasks.Find(t.Context(), task.Query{}); err != nil || len(found) != 31 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}

func TestBatch_ALineThatIsTooLongEndsABatch(t *testing.T) {
	s := serve(t, Config{})
	ok := `{"kind": "k", "payload": 1}` + "\n"
	got := s.batch(ok + `{"kind": "k", "payload": "` + strings.Repeat("x", maxBody) + `"}` + "\n" + ok)
	if len(got) != 2 || got[0].Problem != nil || got[1].Line != 2 || got[1].Problem == nil || !strings.Contains(got[1].Problem.Detail, "not looked at") {
		t.Errorf("%+v", got)
	}
}

// busyStore has one key that an open transaction holds, and fails when the test wants it to.
type busyStore struct {
	task.Store
	adds, failAt int
}

func (s *busyStore) Add(ctx context.Context, tasks []task.NewTask) ([]task.AddResult, error) {
	if s.adds++; s.adds == s.failAt {
		return nil, errors.New("disk full")
	}
	added := make([]task.AddResult, len(tasks))
	var free []task.NewTask
	for i, n := range tasks {
		if added[i] = (task.AddResult{ID: n.ID, Busy: n.Key == "busy"}); n.Key != "busy" {
			free = append(free, n)
		}
	}
	done, err := s.Store.Add(ctx, free)
	for i := range added {
		if !added[i].Busy && err == nil {
			added[i], done = done[0], done[1:]
		}
	}
	return added, err
}

func TestBatch_ABusyKeyInABatchHoldsBackNobodyElse(t *testing.T) {
	s := serve(t, Config{Store: &busyStore{Store: memstore.New()}})
	var body strings.Builder
	for _, key := range []string{"", "busy", "", "free", "busy"} {
		b, err := json.Marshal(submission{Kind: "k", Payload: []byte("1"), Key: key})
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&body, "%s\n", b)
	}
	got := s.batch(body.String())
	for i, busy := range []bool{false, true, false, false, true} {
		if p := got[i].Problem; (p != nil) != busy || busy && !errors.Is(p, task.ErrKeyBusy) || got[i].ID == "" {
			t.Errorf("line %d: %+v, %v", i+1, got[i], p)
		}
	}
	if found, err := s.tasks.Find(t.Context(), task.Query{}); err != nil || len(found) != 3 {
		t.Errorf("%d tasks, %v: want the three that are not busy", len(found), err)
	}
}

func TestClient_ABusyKeyIsToldOfItsTaskAndTheOthersAreSubmitted(t *testing.T) {
	s := serve(t, Config{Store: &busyStore{Store: memstore.New()}})
	c := s.client("")
	var tasks []task.NewTask
	for _, key := range []string{"busy", "", "free"} {
		n, err := task.Prepare("k", []byte("1"), &task.EnqueueOptions{Key: key})
		if err != nil {
			t.Fatal(err)
		}
		tasks = append(tasks, n)
	}
	done, err := c.EnqueueMany(t.Context(), tasks)
	if !errors.Is(err, task.ErrKeyBusy) || !strings.Contains(err.Error(), "1 of 3 tasks") || len(done) != 3 {
		t.Fatalf("%+v, %v: want the whole answer, and ErrKeyBusy with its number", done, err)
	}
	for i, d := range done {
		if d.ID != tasks[i].ID || d.Outcome == task.OutcomeExisting || (d.Err != nil) != (i == 0) || i == 0 && !errors.Is(d.Err, task.ErrKeyBusy) {
			t.Errorf("task %d: %+v", i, d)
		}
	}
	if _, err := c.Enqueue(t.Context(), "k", []byte("1"), &task.EnqueueOptions{Key: "busy"}); !errors.Is(err, task.ErrKeyBusy) {
		t.Errorf("a single one: %v", err)
	}
	if found, err := s.tasks.Find(t.Context(), task.Query{}); err != nil || len(found) != 2 {
		t.Errorf("%d tasks, %v", len(found), err)
	}
}

func TestBatch_AStoreThatFailsInTheMiddleOfABatchEndsItAndTheIDsAreTold(t *testing.T) {
	store := &busyStore{Store: memstore.New(), failAt: 2}
	s := serve(t, Config{Store: store})
	got := s.batch(strings.Repeat(`{"kind": "k", "payload": 1}`+"\n", 3*batchStep))
	if len(got) != 2*batchStep+1 {
		t.Fatalf("%d answers", len(got))
	}
	for i, a := range got {
		switch {
		case i < batchStep && a.Problem != nil,
			i >= batchStep && (a.Problem == nil || !strings.Contains(a.Problem.Detail, "the store does not answer, or refuses")),
			i < 2*batchStep && a.ID == "":
			t.Fatalf("line %d: %+v, %v", a.Line, a, a.Problem)
		}
	}
	if n := strings.Count(s.log.String(), "disk full"); n != 1 {
		t.Errorf("the log has the reason %d times:\n%s", n, s.log)
	}
}
