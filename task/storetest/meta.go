package storetest

import (
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

var metaRules = []rule{
	{"35", "Meta is kept byte for byte, and comes with the task wherever it is handed out", metaIsKept},
	{"35", "a task that is added again with another Meta keeps its own", func(t *T) {
		first := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}"), Meta: map[string]string{"trace": "first"}}
		again, without := first, first
		again.Meta, without.Meta = map[string]string{"trace": "second", "more": "x"}, nil
		for i, n := range []task.NewTask{first, again, without} {
			t.addAll([]task.NewTask{n}, []task.AddResult{{ID: first.ID, Outcome: wasThere(i > 0)}})
			t.sameMeta("in a list", t.get(first.ID), first.Meta)
		}
	}},
	{"35", "a query's Meta admits the tasks that have each of its pairs, whatever else is asked for", metaIsFound},
}

// oddMetas returns values of Meta that are hard to store unchanged.
func oddMetas() []map[string]string {
	full := make(map[string]string)
	for i := range task.MaxMeta {
		full[strings.Repeat("k", 99)+string(rune('a'+i))] = strings.Repeat("é", task.MaxMetaValue/2)
	}
	return []map[string]string{
		nil, {"a": ""}, {"a.b/c-d_E9": "x"}, {"quoted": `it's "so" \ $1 %s {} [null]`}, {"unicode": "a\u0301 á \U0001F600 \ufffd \ufeff"},
		{"control": "\x01\t\n\r\x1f\x7f"}, {"html": "<&>\u2028"}, {"number": "1.0", "null": "null", "true": "true"}, full,
	}
}

func metaIsKept(t *T) {
	t.join("w")
	want := make(map[string]map[string]string)
	var news []task.NewTask
	for i, meta := range oddMetas() {
		for _, payload := range []string{"{}", strings.Repeat("x", 5000)} {
			n := task.NewTask{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte(payload), Meta: maps.Clone(meta), Priority: i % 2}
			want[n.ID] = meta
			news = append(news, n)
		}
	}
	if _, err := t.Store.Add(t.Context(), news); err != nil {
		t.Fatal(err)
	}
	same := func(where string, all []task.Task, err error) []task.Task {
		t.Helper()
		if err != nil || len(all) != len(want) {
			t.Fatalf("%s: %d tasks, %v, want %d", where, len(all), err, len(want))
		}
		for _, one := range all {
			t.sameMeta(where, one, want[one.ID])
			if len(one.Payload) != 2 && len(one.Payload) != 5000 {
				t.Errorf("%s: %s has a payload of %d bytes", where, one.ID, len(one.Payload))
			}
		}
		return all
	}
	listed := func(where string) {
		t.Helper()
		all, err := t.Store.Find(t.Context(), task.Query{})
		same(where, all, err)
	}
	listed("listed while it waits")
	runs := same("claimed", t.claim("w", 100), nil)
	listed("listed while it runs")
	for id := range want {
		if meta := t.get(id).Meta; meta != nil {
			meta["mine"] = "now" // of a copy
		}
		break
	}
	missing, err := t.Store.Heartbeat(t.Context(), task.Beat{Worker: "w", Lease: lease, Seq: 2, State: task.WorkerRunning, ListsAllRuns: true})
	same("missing in a beat", missing.Missing, err)
	for i, c := range runs {
		t.mustApply(change(c, []task.Status{task.StatusInterrupted, task.StatusQueued}[i%2]))
	}
	runs = same("claimed again", t.claim("w", 100), nil)
	left, err := t.Store.Reclaim(t.Context(), task.ReclaimRequest{Worker: "w", Seq: 2, Max: 100})
	same("reclaimed", left.Tasks, err)
	for _, c := range runs {
		end := change(c, task.StatusFailed)
		end.Reclaimed = true
		t.mustApply(end)
	}
	listed("listed when it has ended")
	for _, c := range runs {
		t.mustAsk(task.VerbRetry, c.ID)
	}
	t.join("w2")
	same("claimed after a retry", t.claim("w2", 100), nil)
}

func (t *T) sameMeta(where string, got task.Task, want map[string]string) {
	t.Helper()
	if !maps.Equal(got.Meta, want) || want == nil && got.Meta != nil {
		t.Errorf("%s, %s has the Meta %.200q, want %.200q", where, got.ID, got.Meta, want)
	}
}

func metaIsFound(t *T) {
	t.join("w")
	with := func(kind, queue, key string, meta map[string]string) string {
		return t.add(func(n *task.NewTask) { n.Kind, n.Queue, n.Key, n.Meta = kind, queue, key, meta })
	}
	acme := map[string]string{"tenant": "acme"}
	failed := with("k", "default", "", acme)
	t.mustApply(change(t.claim("w", 1)[0], task.StatusFailed))
	done := with("k", "default", "", map[string]string{"tenant": "acme", "user": "7"})
	t.mustApply(change(t.claim("w", 1)[0], task.StatusSucceeded))
	interrupted := with("k", "q", "", acme)
	later := change(t.claim("w", 1)[0], task.StatusInterrupted)
	later.Delay = time.Hour
	t.mustApply(later)
	running := with("k", "q", "key", acme)
	t.claim("w", 1)
	with("k", "default", "", map[string]string{"tenant": "acme2", "acme": "tenant"})
	empty := with("k", "default", "", map[string]string{"tenant": "", "user": "acme"})
	with("k", "default", "", nil)
	other := with("other", "q", "", acme)
	for _, c := range []struct {
		what string
		q    task.Query
		want []string
	}{
		{"a pair", task.Query{Meta: acme}, []string{other, running, interrupted, done, failed}},
		{"two pairs", task.Query{Meta: map[string]string{"tenant": "acme", "user": "7"}}, []string{done}},
		{"two pairs that no task has", task.Query{Meta: map[string]string{"tenant": "acme", "user": "acme"}}, nil},
		{"a part of a value", task.Query{Meta: map[string]string{"tenant": "acm"}}, nil},
		{"an empty value", task.Query{Meta: map[string]string{"tenant": "", "user": "acme"}}, []string{empty}},
		{"an empty value of a key that is not there", task.Query{Meta: map[string]string{"nothing": ""}}, nil},
		{"a limit", task.Query{Meta: acme, Limit: 2}, []string{other, running}},
		{"a limit, and what follows", task.Query{Meta: acme, Limit: 2, After: running}, []string{interrupted, done}},
		{"the rest", task.Query{Meta: acme, After: done}, []string{failed}},
		{"queued", task.Query{Meta: acme, Status: task.StatusQueued}, []string{other}},
		{"running", task.Query{Meta: acme, Status: task.StatusRunning}, []string{running}},
		{"interrupted", task.Query{Meta: acme, Status: task.StatusInterrupted}, []string{interrupted}},
		{"succeeded", task.Query{Meta: acme, Status: task.StatusSucceeded}, []string{done}},
		{"succeeded of a kind", task.Query{Meta: acme, Status: task.StatusSucceeded, Kind: "k"}, []string{done}},
		{"failed", task.Query{Meta: acme, Status: task.StatusFailed}, []string{failed}},
		{"failed of a kind and queue", task.Query{Meta: acme, Status: task.StatusFailed, Kind: "k", Queue: "default"}, []string{failed}},
		{"failed of another one", task.Query{Meta: acme, Status: task.StatusFailed, Kind: "other"}, nil},
		{"a kind", task.Query{Meta: acme, Kind: "other"}, []string{other}},
		{"a queue", task.Query{Meta: acme, Queue: "q"}, []string{other, running, interrupted}},
		{"a kind and a queue", task.Query{Meta: acme, Kind: "k", Queue: "q"}, []string{running, interrupted}},
		{"waiting of a kind", task.Query{Meta: acme, Kind: "k", Status: task.StatusInterrupted}, []string{interrupted}},
		{"a key", task.Query{Meta: acme, Key: "key"}, []string{running}},
		{"a key of another Meta", task.Query{Meta: map[string]string{"tenant": "x"}, Key: "key"}, nil},
		{"ids", task.Query{Meta: map[string]string{"user": "7"}, IDs: []string{failed, done}}, []string{done}},
	} {
		found, err := t.Store.Find(t.Context(), c.q)
		if err != nil || !slices.Equal(ids(found), c.want) {
			t.Errorf("%s: %v, %v, want %v", c.what, ids(found), err, c.want)
		}
	}
}
