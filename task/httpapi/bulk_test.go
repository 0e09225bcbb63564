package httpapi

import (
	"errors"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// cancelled submits tasks of two kinds, and cancels them.
func (s *site) cancelled(n int) (ids []string) {
	s.t.Helper()
	for i := range n {
		got, err := s.tasks.Enqueue(s.t.Context(), []string{"a", "b"}[i%2], []byte("1"), nil)
		if err != nil {
			s.t.Fatal(err)
		}
		if err := s.tasks.Cancel(s.t.Context(), got.ID); err != nil {
			s.t.Fatal(err)
		}
		ids = append(ids, got.ID)
	}
	return ids
}

func TestBulk_DoesWhatWasAskedToAllThatPassTheFilter(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		all := s.cancelled(10)
		var got bulkAnswer
		body := `{"command": "retry", "filter": {"kind": ["a", "c"], "status": ["cancelled"]}, "reason": "once more"`
		s.into(s.ask("POST", "/v1/tasks/bulk", body+`, "dryRun": true}`), http.StatusOK, &got)
		if got != (bulkAnswer{Found: 5}) || strings.Contains(s.log.String(), "tasks command") {
			t.Errorf("counted %+v; %s", got, s.log)
		}
		s.into(s.ask("POST", "/v1/tasks/bulk", body+`, "limit": 2}`), http.StatusOK, &got)
		if got.Found != 2 || got.Done != 2 || got.Next == "" {
			t.Errorf("of two at most: %+v", got)
		}
		s.into(s.ask("POST", "/v1/tasks/bulk", body+`, "after": "`+got.Next+`"}`), http.StatusOK, &got)
		if got.Next = ""; got != (bulkAnswer{Found: 3, Done: 3}) {
			t.Errorf("the rest: %+v", got)
		}
		got = bulkAnswer{}
		s.into(s.ask("POST", "/v1/tasks/bulk", body+`}`), http.StatusOK, &got)
		if got != (bulkAnswer{}) {
			t.Errorf("again: %+v", got)
		}
		if log := s.log.String(); strings.Count(log, "tasks command") != 2 || !strings.Contains(log, "command=retry") || !strings.Contains(log, `reason="once more"`) || !strings.Contains(log, "done=3") {
			t.Errorf("the log: %s", log)
		}
		c := s.client("")
		for i, id := range all {
			commands, err := c.Commands(t.Context(), id)
			if want := 2 - i%2; err != nil || len(commands) != want || i%2 == 0 && (commands[1].Verb != task.VerbRetry || commands[1].Reason != "once more") {
				t.Errorf("the task %d: %+v, %v", i, commands, err)
			}
		}
		done, err := c.Bulk(t.Context(), task.VerbDelete, task.Query{Kind: "b"}, nil)
		if err != nil || done != (task.BulkResult{Found: 5, Done: 5}) {
			t.Errorf("deleted %+v, %v", done, err)
		}
		steps := 0
		done, err = c.Bulk(t.Context(), task.VerbCancel, task.Query{}, &task.BulkOptions{Limit: 3, Step: func(task.BulkResult) { steps++ }})
		if err != nil || done.Done != 3 || done.Next == "" || steps != 1 {
			t.Errorf("cancelled %+v, %v, %d steps", done, err, steps)
		}
		if left, err := c.Find(t.Context(), task.Query{}); err != nil || len(left) != 5 {
			t.Errorf("%d left, %v", len(left), err)
		}
		if _, err := c.Bulk(t.Context(), task.VerbInterrupt, task.Query{Status: task.StatusFailed}, nil); !errors.Is(err, task.ErrInvalid) {
			t.Errorf("interrupt of what has failed: %v", err)
		}
	})
}

func TestBulk_RefusesWhatItDoesNotUnderstand(t *testing.T) {
	s := serve(t, Config{})
	for body, says := range map[string]string{
		`{"filter": {"kind": ["a"]}}`:                                                      `"command" is missing`,
		`{"command": "retry"}`:                                                             `"all": true`,
		`{"command": "retry", "filter": {}}`:                                               `"all": true`,
		`{"command": "retry", "filter": {"order": "finished"}}`:                            `"all": true`,
		`{"command": "pause", "all": true}`:                                                "use one of retry",
		`{"command": "retry", "all": 1}`:                                                   "true or false",
		`{"command": "retry", "filter": {"kind": "a"}}`:                                    "a list of texts",
		`{"command": "retry", "filter": {"kinds": ["a"]}}`:                                 "is not known: a filter has",
		`{"command": "retry", "filter": {"limit": "3"}}`:                                   "is not known: a filter has",
		`{"command": "retry", "filter": {"status": ["running"]}}`:                          "leave the status out",
		`{"command": "retry", "filter": {"createdFrom": "yesterday"}}`:                     "give a time as",
		`{"command": "retry", "all": true, "limit": -1}`:                                   "1 or more",
		`{"command": "retry", "all": true, "after": "here"}`:                               `give "next"`,
		`{"command": "retry", "all": true, "tasks": []}`:                                   "is not known: a bulk command has",
		`{"command": "retry", "all": true, "reason": "` + strings.Repeat("x", 1001) + `"}`: "at most 1000 bytes",
	} {
		s.refused(s.ask("POST", "/v1/tasks/bulk", body), "invalid", says)
	}
}

func TestCommand_KeepsTheNameOfTheTokenAndTheReason(t *testing.T) {
	tokens := openTokens(t, "reader read "+readSecret+"\nann operate,read "+operateSecret+"\nshop submit "+submitSecret+"\n")
	s := serve(t, Config{Tokens: tokens})
	ids := s.cancelled(2)
	for _, secret := range []string{readSecret, submitSecret} {
		s.refused(s.ask("POST", "/v1/tasks/bulk", `{"command": "delete", "all": true}`, set("Authorization", "Bearer "+secret)), "forbidden", "lacks the role operate")
	}
	c := s.client(operateSecret).WithReason("because; of \"it\"")
	for _, do := range []error{c.Retry(t.Context(), ids[0], nil), c.Cancel(t.Context(), ids[0]), c.Pause(t.Context(), "q", nil)} {
		if do != nil {
			t.Fatal(do)
		}
	}
	if done, err := c.Bulk(t.Context(), task.VerbRetry, task.Query{Kind: "b"}, nil); err != nil || done.Done != 1 {
		t.Fatalf("%+v, %v", done, err)
	}
	for i, want := range [][]task.Verb{{task.VerbCancel, task.VerbRetry, task.VerbCancel}, {task.VerbCancel, task.VerbRetry}} {
		commands, err := c.Commands(t.Context(), ids[i])
		if err != nil || len(commands) != len(want) {
			t.Fatalf("%+v, %v", commands, err)
		}
		for j, got := range commands {
			by, reason := "ann", "because; of \"it\""
			if j == 0 { // by the store's client
				by, reason = "", ""
			}
			if got.Verb != want[j] || got.By != by || got.Reason != reason || time.Since(got.At).Abs() > time.Minute {
				t.Errorf("%+v", got)
			}
		}
	}
	if err := c.Delete(t.Context(), ids[0]); err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"command=delete", "command=pause", "command=retry filter="} {
		found := false
		for one := range strings.Lines(s.log.String()) {
			found = found || strings.Contains(one, line) && strings.Contains(one, "by=ann") && strings.Contains(one, `reason="because; of \"it\""`)
		}
		if !found {
			t.Errorf("the log has no %s by ann with the reason:\n%s", line, s.log)
		}
	}
	s.refused(s.ask("DELETE", "/v1/tasks/"+ids[1]+"?reason="+strings.Repeat("x", 1001), "", set("Authorization", "Bearer "+operateSecret)), "invalid", "at most 1000 bytes")
}

// paged returns the tasks of a query, which it lists two at a time.
func (s *site) paged(q task.Query) (found []string) {
	s.t.Helper()
	for q.Limit = 2; ; {
		part, err := s.client("").List(s.t.Context(), q)
		if err != nil {
			s.t.Fatal(err)
		}
		for _, one := range part.Tasks {
			found = append(found, one.ID)
		}
		if q.After = part.Next; part.Next == "" {
			return found
		}
	}
}

func TestList_HasEveryFilterAndOrder(t *testing.T) {
	onEachStore(t, func(t *testing.T, s *site) {
		ids := s.cancelled(6)
		for _, id := range []string{ids[0], ids[5], ids[2]} { // these end again, in this order
			if err := errors.Join(s.tasks.Retry(t.Context(), id, nil), s.tasks.Cancel(t.Context(), id)); err != nil {
				t.Fatal(err)
			}
		}
		third, err := s.tasks.Get(t.Context(), ids[2])
		if err != nil {
			t.Fatal(err)
		}
		at := url.QueryEscape(third.Created.UTC().Format(time.RFC3339Nano))
		c := s.client("")
		for query, want := range map[string][]string{
			"status=cancelled,failed&kind=a":    {ids[4], ids[2], ids[0]},
			"kind=a,b&queue=default,none":       {ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]},
			"order=finished&limit=3":            {ids[2], ids[5], ids[0]},
			"order=finished&kind=b":             {ids[5], ids[3], ids[1]},
			"createdFrom=" + at + "&kind=a":     {ids[4], ids[2]},
			"createdTo=" + at:                   {ids[1], ids[0]},
			"finishedFrom=2020-01-01T00:00:00Z": {ids[5], ids[4], ids[3], ids[2], ids[1], ids[0]},
			"startedFrom=2020-01-01T00:00:00Z":  nil,
			"worker=w":                          nil,
			"error=no":                          nil,
			"reason=stop,lost":                  nil,
		} {
			v, err := url.ParseQuery(query)
			if err != nil {
				t.Fatal(err)
			}
			q, err := decodeQuery(v)
			if err != nil {
				t.Fatal(err)
			}
			asked := encodeQuery(q)
			for name, values := range v {
				if name != "limit" && !slices.Equal(asked[name], values) {
					t.Errorf("%s: %s was sent on as %v", query, name, asked[name])
				}
			}
			var p page
			s.into(s.ask("GET", "/v1/tasks?"+query, ""), http.StatusOK, &p)
			var got []string
			for _, one := range p.Tasks {
				got = append(got, one.ID)
			}
			if !slices.Equal(got, want) {
				t.Errorf("%s: %v, want %v", query, got, want)
			}
			if v.Has("limit") {
				continue
			}
			if found := s.paged(q); !slices.Equal(found, want) {
				t.Errorf("%s, in pages of the client: %v, want %v", query, found, want)
			}
		}
		if got, err := c.Find(t.Context(), task.Query{Kind: "a", Kinds: []string{"b"}}); err != nil || len(got) > 0 {
			t.Errorf("two kinds at once: %v, %v", got, err)
		}
		s.refused(s.ask("GET", "/v1/tasks?order=age", ""), "invalid", "use created or finished")
		s.refused(s.ask("GET", "/v1/tasks?order=finished&after="+ids[0], ""), "invalid", "Next of the page before")
	})
}
