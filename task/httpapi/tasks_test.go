package httpapi

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storekit"
)

func TestSubmit_IsCreatedOnceAndCanBeRepeated(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		body := `{"id": "` + someID + `", "kind": "k", "payload": { "a":  1 }, "queue": "q", "priority": 2, "delay": "90s", "startBefore": "2h"}`
		for _, status := range []int{http.StatusCreated, http.StatusOK} {
			r := s.ask("POST", "/v1/tasks", body)
			var got submitted
			s.into(r, status, &got)
			if got.ID != someID || got.Existed != (status == http.StatusOK) || r.header.Get("Location") != "/v1/tasks/"+someID {
				t.Errorf("%s %v", r.body, r.header)
			}
		}
		got, err := s.tasks.Get(t.Context(), someID)
		if err != nil || string(got.Payload) != `{ "a":  1 }` || got.Queue != "q" || got.Priority != 2 || got.RunAt.Sub(got.Created) != 90*time.Second ||
			got.StartBefore.Sub(got.Created) != 2*time.Hour {
			t.Errorf("%+v, %v", got, err)
		}
	})
}

func TestSubmit_AnIDOfATaskWithAnotherKindOrPayloadIsAConflictForBothClients(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		c := s.client("")
		if _, err := c.Enqueue(t.Context(), "k", []byte(`{"mine":1}`), &task.EnqueueOptions{ID: someID}); err != nil {
			t.Fatal(err)
		}
		for _, body := range []string{
			`{"id": "` + someID + `", "kind": "k", "payload": {"theirs":1}}`, `{"id": "` + someID + `", "kind": "other", "payload": {"mine":1}}`,
		} {
			s.refused(s.ask("POST", "/v1/tasks", body), "id-conflict", "another kind or payload")
		}
		if got, err := c.Enqueue(t.Context(), "k", []byte("2"), &task.EnqueueOptions{ID: someID}); !errors.Is(err, task.ErrIDConflict) || got.Existed {
			t.Errorf("the client: %+v, %v", got, err)
		}
		var many []task.NewTask
		for _, id := range []string{otherID, someID} {
			n, err := task.Prepare("k", []byte("2"), &task.EnqueueOptions{ID: id})
			if err != nil {
				t.Fatal(err)
			}
			many = append(many, n)
		}
		done, err := c.EnqueueMany(t.Context(), many)
		if !errors.Is(err, task.ErrIDConflict) || len(done) != 2 || done[0].Err != nil || !errors.Is(done[1].Err, task.ErrIDConflict) || done[1].Existed {
			t.Errorf("many: %+v, %v", done, err)
		}
		if got, err := s.tasks.Get(t.Context(), someID); err != nil || got.Kind != "k" || string(got.Payload) != `{"mine":1}` {
			t.Errorf("%+v, %v", got, err)
		}
		s.refused(s.ask("POST", "/v1/tasks", `{"id": "00000000-0000-0000-0000-000000000000", "kind": "k", "payload": 1}`), "invalid", "names nothing")
	})
}

func TestSubmit_WithTheKeyOfAnUnfinishedTaskIsAnsweredWithThatTask(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		var first, second submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1, "key": "K"}`), http.StatusCreated, &first)
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 2, "key": "K"}`), http.StatusOK, &second)
		if first.ID != second.ID || !second.Existed {
			t.Errorf("%+v, %+v", first, second)
		}
	})
}

func TestSubmit_AKindThatNoWorkerKnowsIsAcceptedAndShownAsSuch(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		var j submitted
		s.into(s.ask("POST", "/v1/tasks", `{"kind": "none/such", "payload": null}`), http.StatusCreated, &j)
		const want = `no running worker knows the kind "none/such"`
		if j.WaitsFor != want {
			t.Errorf("the submit says that it waits for %q", j.WaitsFor)
		}
		var got Task
		s.into(s.ask("GET", "/v1/tasks/"+j.ID, ""), http.StatusOK, &got)
		if got.Status != task.StatusQueued || got.WaitsFor != want {
			t.Errorf("%+v", got)
		}
		var mux task.Mux
		task.Handle(&mux, task.Kind[any]{Name: "none/such"}, nothing)
		s.work(&mux, nil)
		until(t, "the new worker has done it", func() bool {
			got, err := s.tasks.Get(t.Context(), j.ID)
			return err == nil && got.Status == task.StatusSucceeded
		})
		until(t, "a submit knows of the worker", func() bool {
			var j submitted
			s.into(s.ask("POST", "/v1/tasks", `{"kind": "none/such", "payload": null}`), http.StatusCreated, &j)
			return j.WaitsFor == ""
		})
	})
}

func TestProblem_ARequestThatCannotBeServedIsAProblemThatSaysWhatToDo(t *testing.T) {
	s := serve(t, Config{})
	ok := `{"kind": "k", "payload": 1`
	for _, c := range []struct{ method, target, body, sort, says string }{
		{"POST", "/v1/tasks", `{"kind": "k"}`, "invalid", `"payload" is missing`},
		{"POST", "/v1/tasks", `{"payload": 1}`, "invalid", `"kind" is missing`},
		{"POST", "/v1/tasks", ok + `, "Queue": "q"}`, "invalid", `"Queue" is not known: a task has id, kind`},
		{"POST", "/v1/tasks", ok + `, "kind": "k"}`, "invalid", `"kind" is given twice`},
		{"POST", "/v1/tasks", ok + `} {}`, "invalid", "something follows"},
		{"POST", "/v1/tasks", ok + `, "key": {`, "invalid", "ends before the JSON object does"},
		{"POST", "/v1/tasks", "", "invalid", "ends before the JSON object does"},
		{"POST", "/v1/tasks", `[1]`, "invalid", "must be a JSON object"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": ` + "\"\xff\"}", "invalid", "not UTF-8"},
		{"POST", "/v1/tasks", ok + `, "id": "x"}`, "invalid", "UUID"},
		{"POST", "/v1/tasks", ok + `, "id": ""}`, "invalid", "leave it out"},
		{"POST", "/v1/tasks", ok + `, "id": null}`, "invalid", "leave it out"},
		{"POST", "/v1/tasks", ok + `, "queue": "a b"}`, "invalid", "only letters, digits"},
		{"POST", "/v1/tasks", ok + `, "delay": "soon"}`, "invalid", "as 90s"},
		{"POST", "/v1/tasks", ok + `, "delay": 90}`, "invalid", "give a text"},
		{"POST", "/v1/tasks", ok + `, "delay": "-1s"}`, "invalid", "negative"},
		{"POST", "/v1/tasks", ok + `, "delay": "2000000h"}`, "invalid", "hundred years"},
		{"POST", "/v1/tasks", ok + `, "startBefore": "soon"}`, "invalid", `"startBefore" is "soon": use a duration`},
		{"POST", "/v1/tasks", ok + `, "startBefore": "1m", "delay": "1m"}`, "invalid", "could never begin"},
		{"POST", "/v1/tasks", ok + `, "startBefore": "-1m"}`, "invalid", "a hundred years"},
		{"POST", "/v1/queues/q/pause", `{"running": "yes"}`, "invalid", "give true or false"},
		{"POST", "/v1/queues/q/pause", `{"runs": true}`, "invalid", "is not known: this command has reason, running"},
		{"POST", "/v1/tasks", ok + `, "priority": 1.5}`, "invalid", "whole number"},
		{"POST", "/v1/tasks", ok + `, "priority": 3000000000}`, "invalid", "whole number from -2147483648"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": "` + strings.Repeat("x", task.MaxPayload) + `"}`, "too-large", "submit its name"},
		{"POST", "/v1/tasks", `{"kind": "k", "payload": "` + strings.Repeat("x", maxBody) + `"}`, "too-large", "submit its name"},
		{"GET", "/v1/tasks?status=done", "", "invalid", "use one of"},
		{"GET", "/v1/tasks?limit=0", "", "invalid", "1 to 1000"},
		{"GET", "/v1/tasks?limit=5&limit=6", "", "invalid", "give it once"},
		{"GET", "/v1/tasks?after=x", "", "invalid", `"next" of the page before`},
		{"GET", "/v1/tasks?stauts=queued", "", "invalid", "a list takes status, kind"},
		{"GET", "/v1/tasks?id=x", "", "invalid", "a UUID in lower case"},
		{"GET", "/v1/tasks?id=" + someID + strings.Repeat("&id="+otherID, 100), "", "invalid", "up to 100"},
		{"GET", "/v1/tasks?kind=%00", "", "invalid", "not text"},
		{"GET", "/v1/tasks?kind=%zz", "", "invalid", "not understood"},
		{"GET", "/v1/tasks/" + someID, "", "not-found", "GET /v1/tasks"},
		{"GET", "/v1/tasks/' or 1=1", "", "not-found", "not a UUID"},
		{"GET", "/v1/tasks/" + someID + "/log", "", "not-found", "GET /v1/tasks"},
		{"POST", "/v1/tasks/" + someID + "/cancel", "", "not-found", "GET /v1/tasks"},
		{"POST", "/v1/tasks/" + someID + "/retry", `{"force": true}`, "invalid", `"force" is not known: this command has reason`},
		{"POST", "/v1/queues/a%20b/pause", "", "invalid", "only letters"},
		{"GET", "/v1/task", "", "no-such-route", "/v1/openapi.json"},
		{"GET", "/", "", "no-such-route", "/v1/openapi.json"},
		{"PUT", "/v1/tasks/" + someID, "", "method-not-allowed", "use DELETE, GET, HEAD"},
		{"PUT", "/v1/tasks", "{}", "method-not-allowed", "use GET, HEAD, POST"},
		{"GET", "/v1/tasks/" + someID + "/cancel", "", "method-not-allowed", "use POST"},
	} {
		t.Run(fmt.Sprintf("%s %s %.40s", c.method, c.target, c.body), func(t *testing.T) {
			s := *s
			s.t = t
			r := s.ask(c.method, strings.ReplaceAll(c.target, " ", "%20"), c.body)
			s.refused(r, c.sort, c.says)
			if c.sort == "method-not-allowed" && !strings.HasSuffix(c.says, r.header.Get("Allow")) {
				t.Errorf("Allow: %s", r.header.Get("Allow"))
			}
		})
	}
	if r := s.ask("GET", "/v1/tasks", ""); r.body != `{"tasks":[]}`+"\n" {
		t.Errorf("something was submitted: %s", r.body)
	}
}

func TestSubmit_ThePayloadMayHaveAMiBAndComesBackByteForByte(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		payload := `"<` + strings.Repeat("x", task.MaxPayload-3) + `"`
		s.into(s.ask("POST", "/v1/tasks", `{"id": "`+someID+`", "kind": "k", "payload": `+payload+`}`), http.StatusCreated, new(submitted))
		var got Task
		s.into(s.ask("GET", "/v1/tasks/"+someID, ""), http.StatusOK, &got)
		if string(got.Payload) != payload || len(got.Base64) != 0 {
			t.Errorf("%d bytes came back, %q", len(got.Payload), got.Base64)
		}
	})
}

func TestList_IsReadPageByPage(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		var tasks []task.NewTask
		for i := range 130 {
			n, err := task.Prepare([]string{"even", "odd"}[i%2], []byte(`{"large": true}`), nil)
			if err != nil {
				t.Fatal(err)
			}
			tasks = append(tasks, n)
		}
		if _, err := s.tasks.EnqueueMany(t.Context(), tasks); err != nil {
			t.Fatal(err)
		}
		var got []string
		target := "/v1/tasks?kind=odd&status=queued&queue=default&limit=60"
		for after := ""; ; {
			var p page
			s.into(s.ask("GET", target+after, ""), http.StatusOK, &p)
			for _, j := range p.Tasks {
				got = append(got, j.ID)
				if j.Payload != nil {
					t.Errorf("a list has a payload: %s", j.Payload)
				}
			}
			if p.Next == "" {
				break
			}
			after = "&after=" + p.Next
		}
		if len(got) != 65 {
			t.Fatalf("%d tasks, want 65", len(got))
		}
		for i, id := range got {
			if want := tasks[len(tasks)-1-2*i].ID; id != want {
				t.Fatalf("number %d is %s, want %s", i, id, want)
			}
		}
	})
}

func TestTasks_BytesThatAreNotJSONComeBackInBase64(t *testing.T) {
	s := serve(t, Config{})
	for _, payload := range [][]byte{{}, {0xff, 0}, []byte("\"\xff\""), []byte("{")} {
		n, err := task.Prepare("k", []byte("null"), nil)
		n.Payload = payload // as another program has put it into the store
		if _, addErr := s.tasks.EnqueueMany(t.Context(), []task.NewTask{n}); err != nil || addErr != nil {
			t.Fatal(err, addErr)
		}
		var j Task
		s.into(s.ask("GET", "/v1/tasks/"+n.ID, ""), http.StatusOK, &j)
		var got []byte
		if err := json.Unmarshal(j.Payload, &got); err != nil || string(got) != string(payload) || len(j.Base64) != 1 || j.Base64[0] != "payload" {
			t.Errorf("%q: %+v, %v", payload, j, err)
		}
		back, err := s.client("").Get(t.Context(), n.ID)
		if err != nil || string(back.Payload) != string(payload) {
			t.Errorf("%q: the client has %q, %v", payload, back.Payload, err)
		}
	}
}

// failing is a store whose calls end with an error.
type failing struct {
	task.Store
	err error
}

func (f failing) Add(context.Context, []task.NewTask) ([]task.AddResult, error) { return nil, f.err }
func (f failing) Find(context.Context, task.Query) ([]task.Task, error)         { return nil, f.err }
func (f failing) Count(context.Context, task.CountQuery) (task.Counts, error) {
	return task.Counts{}, f.err
}

func TestProblem_AFailureOfTheStoreIsNamedAndItsReasonIsInTheLogAlone(t *testing.T) {
	const secret = "/var/lib/lastcall user=lc 10.0.0.7:5432"
	for class, err := range map[string]error{
		"the store has no room left":            storekit.Full(errors.New(secret)),
		"the store has not answered in time":    fmt.Errorf("%s: %w", secret, errStoreLate),
		"the store does not answer, or refuses": errors.New(secret),
	} {
		s := serve(t, Config{Store: failing{memstore.New(), err}})
		line := `{"kind": "k", "payload": 1}` + "\n"
		for _, r := range []reply{
			s.ask("POST", "/v1/tasks", line), s.ask("GET", "/v1/tasks", ""), s.ask("GET", "/v1/counts", ""), s.ask("GET", "/v1/events", ""),
			s.ask("POST", "/v1/tasks/batch", strings.Repeat(line, batchStep+3)),
		} {
			var p Problem
			if r.status == http.StatusOK { // the batch
				lines, err := decodeBatch([]byte(r.body))
				if err != nil || len(lines) != batchStep+1 || !strings.Contains(lines[batchStep].Problem.Detail, class) {
					t.Fatalf("%v: %s", err, r.body)
				}
				p = *lines[0].Problem
			} else {
				s.refused(r, "unavailable", class)
				s.into(r, http.StatusServiceUnavailable, &p)
			}
			if strings.Contains(r.body, "lastcall user") || strings.Contains(r.body, "10.0.0.7") {
				t.Errorf("the answer has the reason: %s", r.body)
			}
			found := false
			for line := range strings.Lines(s.log.String()) {
				found = found || strings.Contains(line, "request="+p.Request) && strings.Contains(line, secret)
			}
			if p.Request == "" || !found {
				t.Errorf("the log has no reason for request %q:\n%s", p.Request, s.log)
			}
		}
	}
}

func TestProblem_AStoreThatFailsIsSaidToTheClientAndTheLog(t *testing.T) {
	store := memstore.New()
	s := serve(t, Config{Store: store})
	if err := store.Close(); err != nil {
		t.Fatal(err)
	}
	for _, target := range []string{"/v1/tasks", "/v1/tasks/" + someID, "/v1/workers", "/v1/counts", "/v1/queues", "/v1/events"} {
		r := s.ask("GET", target, "")
		s.refused(r, "unavailable", "send it again")
		if r.header.Get("Retry-After") == "" {
			t.Errorf("%s: no Retry-After", target)
		}
	}
	s.refused(s.ask("POST", "/v1/tasks", `{"kind": "k", "payload": 1}`), "unavailable", "a submit with the same id")
	if !strings.Contains(s.log.String(), "request failed") {
		t.Errorf("the log has only:\n%s", s.log)
	}
}
