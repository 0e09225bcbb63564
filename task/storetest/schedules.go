package storetest

import (
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// generation returns the id of a generation.
func generation(n int) string { return fmt.Sprintf("00000000-0000-7000-9000-%012d", n) }

// scheduled returns a schedule whose tick is that long before now.
func scheduled(name string, late time.Duration) task.ScheduleRecord {
	return task.ScheduleRecord{Name: name, Timing: "each " + name, Words: "words of " + name, Template: []byte("\x00{" + name),
		Next: time.Now().Add(-late).UTC().Truncate(time.Microsecond)}
}

// putSet returns the n-th content of a set.
func putSet(n int, records ...task.ScheduleRecord) task.SchedulesPut {
	p := task.SchedulesPut{ScheduleSet: task.ScheduleSet{Name: "set", Generation: generation(n), Revision: int64(n), Digest: fmt.Sprint("d", n), Salt: "salt"}, Schedules: records}
	if n > 1 {
		p.Was, p.Former = generation(n-1), []string{"d0", fmt.Sprint("d", n-1)}
	}
	return p
}

func (t *T) put(p task.SchedulesPut) task.ScheduleSet {
	t.Helper()
	set, err := t.Store.PutSchedules(t.Context(), p)
	if err != nil {
		t.Fatalf("PutSchedules: %v", err)
	}
	return set
}

func (t *T) due(n int, most int) task.DueReply {
	t.Helper()
	reply, err := t.Store.DueSchedules(t.Context(), task.DueRequest{Set: "set", Generation: generation(n), Max: most})
	if err != nil {
		t.Fatalf("DueSchedules: %v", err)
	}
	return reply
}

func (t *T) ticks(n int, ticks ...task.Tick) []task.TickResult {
	t.Helper()
	results, err := t.Store.Tick(t.Context(), task.TickRequest{Set: "set", Generation: generation(n), Ticks: ticks})
	if err != nil || len(results) != len(ticks) {
		t.Fatalf("Tick: %+v, %v", results, err)
	}
	return results
}

// schedule reads a schedule.
func (t *T) schedule(name string) task.StoredSchedule {
	t.Helper()
	found, err := t.Store.Schedules(t.Context(), task.ScheduleQuery{Set: "set", Name: name})
	if err != nil || len(found) != 1 {
		t.Fatalf("Schedules of %s: %+v, %v", name, found, err)
	}
	return found[0]
}

// tickOf returns a tick of a schedule that is due, with a new task and an hour until the next one.
func (t *T) tickOf(r task.ScheduleRecord) task.Tick {
	return task.Tick{Name: r.Name, At: r.Next, Next: r.Next.Add(time.Hour),
		Tasks: []task.NewTask{{ID: t.id(), Kind: "k", Queue: "default", Payload: []byte("{}"), Meta: map[string]string{"a": "b"}}}}
}

func names(due []task.DueSchedule) (all []string) {
	for _, d := range due {
		all = append(all, d.Name)
	}
	return all
}

// wantResult complains unless a single tick had this result.
func (t *T) wantResult(what string, got []task.TickResult, want task.TickResult) {
	t.Helper()
	if len(got) != 1 || got[0] != want {
		t.Errorf("%s: %+v, want %+v", what, got, want)
	}
}

var scheduleRules = []rule{
	{"46", "a set is replaced as a whole, by a caller that knows what it was", replacedSet},
	{"46", "a schedule keeps its next tick while its timing is the same, and always its pause and its last task", keptSchedule},
	{"46", "schedules are listed by set and name", listedSchedules},
	{"47", "a tick is made once, by the generation of the set", tickedOnce},
	{"47", "an id that exists, and a pause, add nothing, and the tick is made", tickedWithoutTask},
	{"48", "the answer has what is due by both clocks, the first first, and when the next is due", dueSchedules},
	{"49", "a tick that is to be alone adds nothing while the last task has not ended", tickedAlone},
	{"56", "a set stays while a process of it was heard of, also without schedules", func(t *T) {
		t.put(putSet(1))
		t.tick()
		t.prune(0, 10)
		if got := t.due(1, 10).Set.Generation; got != generation(1) {
			t.Errorf("the set without schedules has the generation %q", got)
		}
		t.put(putSet(2, scheduled("a", 0)))
		t.prune(0, 10)
		if got := t.due(2, 10); got.Set.Generation != generation(2) || len(got.Due) != 1 {
			t.Errorf("the set with a schedule is %+v", got)
		}
	}},
}

// scheduleMeetings are the cases in which calls meet.
var scheduleMeetings = []rule{
	{"47", "of many processes that make one tick at a time one does", tickedByMany},
}

func replacedSet(t *T) {
	a, b := scheduled("a", 0), scheduled("b", 0)
	first := putSet(1, a, b)
	if got := t.put(first); got.Generation != first.Generation || got.Revision != 1 || got.Digest != "d1" || got.Salt != "salt" || len(got.Former) != 0 || got.Beats != 0 {
		t.Errorf("the first put answers with %+v", got)
	}
	late := putSet(1, scheduled("late", 0))
	late.Generation = generation(77)
	if got := t.put(late); got.Generation != first.Generation {
		t.Errorf("a put that believes that there is no set makes it %+v", got)
	}
	second := putSet(2, b, scheduled("c", 0))
	if got := t.put(second); got.Generation != second.Generation || !slices.Equal(got.Former, []string{"d0", "d1"}) {
		t.Errorf("the second put answers with %+v", got)
	}
	stale := putSet(2, a)
	stale.Generation = generation(78)
	if got := t.put(stale); got.Generation != second.Generation {
		t.Errorf("a put that is late makes the set %+v", got)
	}
	if set := t.due(2, 10).Set; set.Generation != second.Generation || set.Digest != "d2" || set.Salt != "salt" || set.Revision != 2 {
		t.Errorf("the set is %+v", set)
	}
	found, err := t.Store.Schedules(t.Context(), task.ScheduleQuery{})
	if err != nil || len(found) != 2 || found[0].Name != "b" || found[1].Name != "c" {
		t.Errorf("%+v, %v", found, err)
	}
	if got := t.put(putSet(3)); got.Generation != generation(3) {
		t.Errorf("a put of nothing answers with %+v", got)
	}
	if found, err := t.Store.Schedules(t.Context(), task.ScheduleQuery{}); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
}

func keptSchedule(t *T) {
	same, earlier, changed, renamed := scheduled("same", time.Hour), scheduled("earlier", 0), scheduled("changed", time.Hour), scheduled("old", time.Hour)
	t.put(putSet(1, same, earlier, changed, renamed))
	tick := t.tickOf(renamed)
	t.ticks(1, tick)
	for _, name := range []string{"changed", "old"} {
		t.mustSteer(task.VerbPause, name)
	}
	want := []task.ScheduleRecord{same, earlier, changed, renamed}
	want[0].Next = same.Next.Add(time.Hour) // ignored
	want[1].Next = earlier.Next.Add(-time.Hour)
	want[2].Timing, want[2].Next, want[2].Words = "other", changed.Next.Add(time.Hour), "w"
	want[3].Name, want[3].Next = "new", renamed.Next.Add(48*time.Hour)
	p := putSet(2, want...)
	p.Renamed = map[string]string{"new": "old"}
	t.put(p)
	for _, c := range []struct {
		name   string
		next   time.Time
		paused bool
		last   string
	}{
		{"same", same.Next, false, ""}, {"earlier", want[1].Next, false, ""}, {"changed", want[2].Next, true, ""}, {"new", tick.Next, true, tick.Tasks[0].ID},
	} {
		if got := t.schedule(c.name); !got.Next.Equal(c.next) || got.Paused != c.paused || got.LastTask != c.last {
			t.Errorf("%+v, want next %v, paused %t, last task %q", got, c.next, c.paused, c.last)
		}
	}
	if got := t.schedule("changed"); got.Words != "w" || got.Timing != "other" {
		t.Errorf("%+v", got)
	}
	t.mustSteer(task.VerbResume, "new")
	if got := t.schedule("new"); got.Paused || !got.Last.Equal(renamed.Next) || string(got.Template) != string(renamed.Template) {
		t.Errorf("%+v", got)
	}
	if found, err := t.Store.Schedules(t.Context(), task.ScheduleQuery{Name: "old"}); err != nil || len(found) != 0 {
		t.Errorf("%+v, %v", found, err)
	}
	t.wantErr("pause of a schedule that is gone", t.Store.Control(t.Context(), task.Command{Verb: task.VerbPause, Schedule: "set/old"}), task.ErrNotFound)
}

func (t *T) mustSteer(verb task.Verb, name string) {
	t.Helper()
	if err := t.Store.Control(t.Context(), task.Command{Verb: verb, Schedule: "set/" + name}); err != nil {
		t.Fatalf("%s schedule %s: %v", verb, name, err)
	}
}

func listedSchedules(t *T) {
	t.put(putSet(1, scheduled("b", 0), scheduled("a/x", 0), scheduled("c", 0)))
	other := putSet(1, scheduled("a", 0))
	other.Name = "other"
	t.put(other)
	list := func(q task.ScheduleQuery) (all []string) {
		t.Helper()
		found, err := t.Store.Schedules(t.Context(), q)
		if err != nil {
			t.Fatal(err)
		}
		for _, s := range found {
			all = append(all, s.Set+"/"+s.Name)
		}
		return all
	}
	for _, c := range []struct {
		q    task.ScheduleQuery
		want []string
	}{
		{task.ScheduleQuery{}, []string{"other/a", "set/a/x", "set/b", "set/c"}},
		{task.ScheduleQuery{Limit: 2}, []string{"other/a", "set/a/x"}},
		{task.ScheduleQuery{AfterSet: "set", AfterName: "a/x", Limit: 1}, []string{"set/b"}},
		{task.ScheduleQuery{AfterSet: "other", AfterName: "a"}, []string{"set/a/x", "set/b", "set/c"}},
		{task.ScheduleQuery{Set: "set"}, []string{"set/a/x", "set/b", "set/c"}},
		{task.ScheduleQuery{Set: "set", AfterSet: "set", AfterName: "b"}, []string{"set/c"}},
		{task.ScheduleQuery{Set: "other", AfterSet: "other", AfterName: "a"}, nil},
		{task.ScheduleQuery{Set: "other"}, []string{"other/a"}},
		{task.ScheduleQuery{Name: "c"}, []string{"set/c"}},
		{task.ScheduleQuery{Set: "other", Name: "c"}, nil},
	} {
		if got := list(c.q); !slices.Equal(got, c.want) {
			t.Errorf("%+v: %v, want %v", c.q, got, c.want)
		}
	}
}

func tickedOnce(t *T) {
	a := scheduled("a", time.Minute)
	t.put(putSet(1, a))
	tick := t.tickOf(a)
	tick.Tasks = append(tick.Tasks, t.tickOf(a).Tasks...)
	tick.Tasks[1].Delay = time.Hour
	t.wantResult("the first", t.ticks(1, tick), task.TickResult{Made: true, Added: 2})
	if got := t.get(tick.Tasks[0].ID); got.Kind != "k" || got.Meta["a"] != "b" || got.Status != task.StatusQueued {
		t.Errorf("%+v", got)
	}
	if got := t.schedule("a"); !got.Next.Equal(tick.Next) || !got.Last.Equal(a.Next) || got.LastTask != tick.Tasks[1].ID {
		t.Errorf("%+v", got)
	}
	again := t.tickOf(a)
	t.wantResult("the same tick of another process", t.ticks(1, again), task.TickResult{})
	t.gone(again.Tasks[0].ID)
	a.Next = tick.Next
	t.put(putSet(2, a))
	old := t.tickOf(a)
	t.wantResult("a tick of an old generation", t.ticks(1, old), task.TickResult{})
	t.wantResult("a tick of no schedule", t.ticks(2, task.Tick{Name: "b", At: a.Next}), task.TickResult{})
	t.gone(old.Tasks[0].ID)
	t.join("w")
	if got := t.claim("w", 5); len(got) != 1 || got[0].ID != tick.Tasks[0].ID {
		t.Errorf("claimed %v", ids(got))
	}
	last := t.tickOf(a)
	last.Next = time.Time{}
	t.wantResult("the last one", t.ticks(2, last), task.TickResult{Made: true, Added: 1})
	if got, reply := t.schedule("a"), t.due(2, 10); !got.Next.IsZero() || len(reply.Due) != 0 || reply.Wait >= 0 {
		t.Errorf("%+v, %+v", got, reply)
	}
}

func tickedWithoutTask(t *T) {
	a, b := scheduled("a", time.Minute), scheduled("b", time.Minute)
	t.put(putSet(1, a, b))
	known, paused := t.tickOf(a), t.tickOf(b)
	t.add(func(n *task.NewTask) { n.ID, n.Payload = known.Tasks[0].ID, []byte("other") })
	t.wantResult("an id that exists", t.ticks(1, known), task.TickResult{Made: true})
	if got := t.get(known.Tasks[0].ID); string(got.Payload) != "other" {
		t.Errorf("%+v", got)
	}
	t.mustSteer(task.VerbPause, "b")
	if due := t.due(1, 10).Due; len(due) != 1 || !due[0].Paused {
		t.Errorf("%+v", due)
	}
	t.wantResult("a tick while it is paused", t.ticks(1, paused), task.TickResult{Made: true})
	t.gone(paused.Tasks[0].ID)
	if got := t.schedule("b"); !got.Next.Equal(paused.Next) || !got.Last.IsZero() || got.LastTask != "" {
		t.Errorf("%+v", got)
	}
	asked := task.Tick{Name: "b", Tasks: t.tickOf(b).Tasks}
	results, err := t.Store.Tick(t.Context(), task.TickRequest{Set: "set", Ticks: []task.Tick{asked}})
	if err != nil || len(results) != 1 || results[0] != (task.TickResult{Made: true, Added: 1}) {
		t.Errorf("a tick that was asked for: %+v, %v", results, err)
	}
	if got := t.schedule("b"); !got.Next.Equal(paused.Next) || !got.Last.IsZero() || got.LastTask != asked.Tasks[0].ID {
		t.Errorf("%+v", got)
	}
}

func dueSchedules(t *T) {
	if reply := t.due(1, 10); reply.Set.Generation != "" || len(reply.Due) != 0 || reply.Now.IsZero() {
		t.Errorf("without a set: %+v", reply)
	}
	t.put(putSet(1, scheduled("c", time.Minute), scheduled("b", time.Hour), scheduled("a", 2*time.Minute), scheduled("later", -time.Hour), scheduled("last", -2*time.Hour)))
	reply := t.due(1, 10)
	if !slices.Equal(names(reply.Due), []string{"b", "a", "c"}) || reply.Wait < 50*time.Minute || reply.Wait > time.Hour {
		t.Errorf("%+v", reply)
	}
	if reply := t.due(1, 2); !slices.Equal(names(reply.Due), []string{"b", "a"}) || reply.Wait != 0 {
		t.Errorf("at most two: %+v", reply)
	}
	if reply := t.due(2, 10); reply.Set.Generation != generation(1) || len(reply.Due) != 0 {
		t.Errorf("of another generation: %+v", reply)
	}
	behind := task.DueRequest{Set: "set", Generation: generation(1), Max: 10, Clock: time.Now().Add(-90 * time.Second)}
	if reply, err := t.Store.DueSchedules(t.Context(), behind); err != nil || !slices.Equal(names(reply.Due), []string{"b", "a"}) ||
		reply.Wait < 20*time.Second || reply.Wait > 40*time.Second || reply.Now.Sub(behind.Clock).Abs() > time.Millisecond {
		t.Errorf("by a clock that is behind: %+v, %v", reply, err)
	}
	behind.Clock = time.Now().Add(day)
	if reply, err := t.Store.DueSchedules(t.Context(), behind); err != nil || len(reply.Due) != 3 || reply.Now.After(time.Now().Add(time.Hour)) {
		t.Errorf("by a clock that is ahead: %+v, %v", reply, err)
	}
	if beats := t.due(1, 1).Set.Beats; beats != 0 {
		t.Errorf("%d beats, and nobody was there", beats)
	}
	for n := range 3 {
		if reply, err := t.Store.DueSchedules(t.Context(), task.DueRequest{Set: "set", Generation: generation(n), Alive: n == 1}); err != nil {
			t.Errorf("%+v, %v", reply, err)
		}
	}
	if beats := t.due(1, 1).Set.Beats; beats != 1 {
		t.Errorf("%d beats, and a process of the generation was there once", beats)
	}
}

func tickedAlone(t *T) {
	a := scheduled("a", time.Minute)
	t.put(putSet(1, a))
	t.join("w")
	first, second := t.tickOf(a), t.tickOf(a)
	first.Alone, first.Next = true, a.Next.Add(time.Second)
	t.wantResult("the first", t.ticks(1, first), task.TickResult{Made: true, Added: 1})
	second.Alone, second.At, second.Next, second.Hold = true, first.Next, a.Next.Add(2*time.Second), time.Hour
	unfinished := task.TickResult{Unfinished: first.Tasks[0].ID}
	t.wantResult("one that is held", t.ticks(1, second), unfinished)
	if reply, got := t.due(1, 10), t.schedule("a"); len(reply.Due) != 0 || reply.Wait < 50*time.Minute || !got.Next.Equal(second.At) {
		t.Errorf("%+v, %+v", reply, got)
	}
	c := t.claim("w", 5)
	if len(c) != 1 {
		t.Fatalf("claimed %v", ids(c))
	}
	second.Hold = time.Microsecond
	t.wantResult("while the first runs", t.ticks(1, second), unfinished)
	t.mustApply(change(c[0], task.StatusInterrupted))
	t.wantResult("while the first waits again", t.ticks(1, second), unfinished)
	t.tick()
	if due := t.due(1, 10).Due; len(due) != 1 || !due[0].Held || !due[0].Tick.Equal(second.At) {
		t.Errorf("%+v", due)
	}
	asked := task.Tick{Name: "a", Alone: true, Tasks: t.tickOf(a).Tasks}
	if results, err := t.Store.Tick(t.Context(), task.TickRequest{Set: "set", Ticks: []task.Tick{asked}}); err != nil || len(results) != 1 || results[0] != unfinished {
		t.Errorf("asked for: %+v, %v", results, err)
	}
	second.Hold = 0
	t.wantResult("one that is left out", t.ticks(1, second), task.TickResult{Made: true, Unfinished: first.Tasks[0].ID})
	third := t.tickOf(a)
	third.Alone, third.At, third.Next = true, second.Next, a.Next.Add(time.Hour)
	t.mustApply(change(t.claim("w", 1)[0], task.StatusFailed))
	t.wantResult("when the first has ended", t.ticks(1, third), task.TickResult{Made: true, Added: 1})
	t.gone(second.Tasks[0].ID)
	if got := t.schedule("a"); got.LastTask != third.Tasks[0].ID || !got.Last.Equal(third.At) {
		t.Errorf("%+v", got)
	}
}

func tickedByMany(t *T) {
	var all []task.ScheduleRecord
	for n := range 20 {
		all = append(all, scheduled(fmt.Sprint("s", n), time.Minute))
	}
	t.put(putSet(1, all...))
	var (
		processes sync.WaitGroup
		mu        sync.Mutex
		made      = make(map[string]int)
	)
	for range 6 {
		var ticks []task.Tick
		for _, r := range all {
			ticks = append(ticks, t.tickOf(r))
		}
		processes.Go(func() {
			results, err := t.Store.Tick(t.Context(), task.TickRequest{Set: "set", Generation: generation(1), Ticks: ticks})
			if err != nil {
				t.Errorf("Tick: %v", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			for i, r := range results {
				if r.Made {
					made[ticks[i].Name]++
				}
			}
		})
	}
	processes.Wait()
	found, err := t.Store.Find(t.Context(), task.Query{Limit: 1000})
	if err != nil || len(found) != len(all) || len(made) != len(all) {
		t.Errorf("%d ticks made %d tasks, %d of them told, %v", len(all), len(found), len(made), err)
	}
	for name, n := range made {
		if n != 1 {
			t.Errorf("%d processes were told that they made the tick of %s", n, name)
		}
	}
}
