package task_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// distant is a store whose claims take time. It notes the most tasks that had been claimed and had not
// begun.
type distant struct {
	task.Store
	takes time.Duration

	mu            sync.Mutex
	claimed, most int
}

func (d *distant) Claim(ctx context.Context, req task.ClaimRequest) ([]task.Task, error) {
	time.Sleep(d.takes)
	got, err := d.Store.Claim(ctx, req)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claimed += len(got)
	d.most = max(d.most, d.claimed)
	return got, err
}

func (d *distant) peak() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.most
}

func (d *distant) begun() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.claimed--
}

// slots is a bench's workers' concurrency.
const slots = 10

// many enqueues n tasks and returns their ids.
func (b *bench) many(n int) []string {
	ids := make([]string, n)
	for i := range ids {
		ids[i] = b.enqueue()
	}
	return ids
}

// quick has handlers that sleep, and notes how many do at once.
func (b *bench) quick(d *distant, each time.Duration) (atOnce *atomic.Int32, took func() time.Duration) {
	atOnce = new(atomic.Int32)
	var now atomic.Int32
	var last atomic.Pointer[time.Time]
	b.handle = func(context.Context, *task.Run) error {
		d.begun()
		atOnce.Store(max(atOnce.Load(), now.Add(1)))
		time.Sleep(each)
		now.Add(-1)
		at := time.Now()
		last.Store(&at)
		return nil
	}
	began := time.Now()
	return atOnce, func() time.Duration { return last.Load().Sub(began) }
}

func TestTasksThatAreShorterThanAClaimAreClaimedAhead(t *testing.T) {
	for _, c := range []struct {
		claim, each time.Duration
	}{{5 * time.Millisecond, 2 * time.Millisecond}, {time.Millisecond, 2 * time.Millisecond}, {20 * time.Millisecond, 10 * time.Millisecond}} {
		t.Run(fmt.Sprintf("claims of %v, handlers of %v", c.claim, c.each), func(t *testing.T) {
			bubble(t, func(b *bench) {
				d := &distant{Store: b.store, takes: c.claim}
				ids := b.many(2000)
				atOnce, took := b.quick(d, c.each)
				g := b.serve(d)
				time.Sleep(time.Minute)
				if n := b.count(task.StatusSucceeded); n != len(ids) {
					t.Errorf("%d of %d tasks have succeeded", n, len(ids))
				}
				ideal := time.Duration(len(ids)) * c.each / slots
				if took() > ideal*13/10 {
					t.Errorf("2000 tasks took %v, with all slots busy it would be %v", took(), ideal)
				}
				if atOnce.Load() != slots {
					t.Errorf("%d handlers at once, want %d", atOnce.Load(), slots)
				}
				if d.peak() > 100+slots {
					t.Errorf("%d tasks were claimed and had not begun", d.peak())
				}
				b.stop(g, 0)
			})
		})
	}
}

// Handlers that began together return together, which does not make them short.
func TestLongerTasksAreNotClaimedAhead(t *testing.T) {
	for _, claim := range []time.Duration{5 * time.Millisecond, time.Second} {
		bubble(t, func(b *bench) {
			d := &distant{Store: b.store, takes: claim}
			b.many(100)
			b.quick(d, 100*time.Millisecond)
			g := b.serve(d)
			time.Sleep(time.Minute)
			if d.peak() > slots {
				t.Errorf("%d tasks were claimed for %d slots", d.peak(), slots)
			}
			b.stop(g, 0)
		})
	}
}

// count is the number of tasks of a status.
func (b *bench) count(s task.Status) (n int) {
	b.t.Helper()
	synctest.Wait()
	all, err := b.client.Count(b.t.Context())
	if err != nil {
		b.t.Fatal(err)
	}
	for _, c := range all.Tasks {
		if c.Status == s {
			n += c.N
		}
	}
	return n
}

// Short ones that were claimed ahead would wait behind the long ones, while other workers have nothing to do.
func TestNothingIsClaimedAheadBesideLongTasks(t *testing.T) {
	bubble(t, func(b *bench) {
		d := &distant{Store: b.store, takes: 5 * time.Millisecond}
		b.many(1000)
		var n atomic.Int32
		b.handle = func(context.Context, *task.Run) error {
			d.begun()
			if n.Add(1)%100 == 3 {
				time.Sleep(5 * time.Second)
			}
			return nil
		}
		g := b.serve(d)
		time.Sleep(time.Minute)
		if n := b.count(task.StatusSucceeded); n != 1000 || d.peak() > slots {
			t.Errorf("%d tasks have succeeded, and %d were claimed for %d slots", n, d.peak(), slots)
		}
		b.stop(g, 0)
	})
}

func TestALongTaskIsForgottenAfterTenTimesItsDuration(t *testing.T) {
	bubble(t, func(b *bench) {
		d := &distant{Store: b.store, takes: 10 * time.Millisecond}
		b.many(2000)
		var first atomic.Bool
		b.handle = func(context.Context, *task.Run) error {
			d.begun()
			if !first.Swap(true) {
				time.Sleep(100 * time.Millisecond)
			}
			time.Sleep(2 * time.Millisecond)
			return nil
		}
		g := b.serve(d)
		time.Sleep(time.Second)
		if d.peak() > slots {
			t.Errorf("%d tasks were claimed for %d slots soon after a long one", d.peak(), slots)
		}
		time.Sleep(time.Minute)
		if n := b.count(task.StatusSucceeded); n != 2000 || d.peak() <= slots {
			t.Errorf("%d tasks have succeeded, and never more than %d were claimed for %d slots", n, d.peak(), slots)
		}
		b.stop(g, 0)
	})
}

// turning has handlers that are short until so many have begun, and then wait for their context or
// the channel.
func (b *bench) turning(short int) (open chan struct{}) {
	open = make(chan struct{})
	var begun atomic.Int32
	b.handle = func(ctx context.Context, _ *task.Run) error {
		if begun.Add(1) <= int32(short) {
			time.Sleep(5 * time.Millisecond)
			return nil
		}
		select {
		case <-open:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return open
}

// statuses counts tasks.
func (b *bench) statuses() map[task.Status]int {
	b.t.Helper()
	synctest.Wait()
	all, err := b.client.Find(b.t.Context(), task.Query{Limit: 1000})
	if err != nil {
		b.t.Fatal(err)
	}
	n := make(map[task.Status]int)
	for _, t := range all {
		n[t.Status]++
	}
	return n
}

func TestWhatWasClaimedAheadIsGivenBackWhenTheSlotsStayTaken(t *testing.T) {
	bubble(t, func(b *bench) {
		open := b.turning(500)
		var mu sync.Mutex
		events := make(map[task.Status]int)
		b.observe = func(e task.Event) {
			mu.Lock()
			defer mu.Unlock()
			events[e.Status]++
		}
		ids := b.many(900)
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusSucceeded] != 500 || n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		time.Sleep(2 * time.Second)
		if n := b.statuses(); n[task.StatusRunning] != slots || n[task.StatusQueued] != 390 {
			t.Errorf("%v, want %d running and all others queued", n, slots)
		}
		for _, id := range ids {
			if got := b.get(id); got.Status == task.StatusQueued && !got.RunAt.Equal(got.Created) {
				t.Errorf("a task that was given back has lost its place: claimable since %v, created %v", got.RunAt, got.Created)
			}
		}
		close(open)
		time.Sleep(time.Minute)
		if n := b.statuses(); n[task.StatusSucceeded] != 900 {
			t.Errorf("in the end %v", n)
		}
		mu.Lock()
		defer mu.Unlock()
		if events[task.StatusRunning] != 900 || events[task.StatusSucceeded] != 900 || len(events) != 2 {
			t.Errorf("an observer heard of %v", events)
		}
		b.stop(g, 0)
	})
}

func TestWhatWasClaimedAheadIsGivenBackAtLastCall(t *testing.T) {
	bubble(t, func(b *bench) {
		b.turning(500)
		ids := b.many(900)
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		g.Stop(nil)
		time.Sleep(20 * time.Millisecond) // a claim may be under way
		if n := b.statuses(); n[task.StatusRunning] != slots || n[task.StatusQueued] != 390 {
			t.Errorf("after last call %v, want %d running and all others queued", n, slots)
		}
		if code := g.Wait().ExitCode(); code != 0 {
			t.Errorf("exit code %d", code)
		}
		given := 0
		for _, id := range ids {
			got := b.get(id)
			if got.Status == task.StatusQueued && got.Runs > 0 {
				given++
			}
			if got.Attempts != 0 || got.Status == task.StatusQueued && got.Interruptions != 0 {
				t.Errorf("a task that had not begun: %+v", got)
			}
		}
		if given == 0 {
			t.Error("nothing was given back")
		}
	})
}

func TestAnInterruptedTaskThatIsGivenBackIsInterruptedStill(t *testing.T) {
	bubble(t, func(b *bench) {
		b.turning(0)
		ids := b.many(2 * slots)
		first, second := b.serve(b.store), b.serve(b.store)
		synctest.Wait()
		first.Stop(nil)
		b.stop(second, 0)
		first.Wait()
		if n := b.statuses(); n[task.StatusInterrupted] != len(ids) {
			t.Fatalf("%v, want %d interrupted", n, len(ids))
		}
		for range 500 {
			if _, err := kind.Enqueue(t.Context(), b.client, args{N: 1}, &task.EnqueueOptions{Priority: 1}); err != nil {
				t.Fatal(err)
			}
		}
		hold := b.handle
		b.handle = func(ctx context.Context, r *task.Run) error {
			if r.Task().Priority == 0 {
				return hold(ctx, r)
			}
			time.Sleep(5 * time.Millisecond)
			return nil
		}
		g := b.serve(&distant{Store: b.store, takes: 5 * time.Millisecond})
		time.Sleep(500 * time.Millisecond)
		if n := b.statuses(); n[task.StatusRunning] <= slots {
			t.Fatalf("%v: nothing waits for a slot", n)
		}
		b.stop(g, 0)
		streaks := make(map[int]int)
		for _, id := range ids {
			streaks[b.want(id, task.StatusInterrupted, task.ReasonStop, 0, 2, 0).InterruptStreak]++
		}
		if streaks[1] != slots || streaks[2] != slots {
			t.Errorf("streaks %v: want 1 for the %d that had not begun, and 2 for the others", streaks, slots)
		}
	})
}
