package task_test

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/lastcall-go/lastcall/task"
)

// distant is a store whose claims take time. It records the most tasks that were claimed and had
// not begun.
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

// quick has handlers that sleep, and records how many do at once.
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

func TestPrefetch_TasksThatAreShorterThanAClaimAreClaimedAhead(t *testing.T) {
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
func TestPrefetch_LongerTasksAreNotClaimedAhead(t *testing.T) {
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

// Short tasks that were prefetched would wait behind the long ones, while other workers have
// nothing to do.
func TestPrefetch_NothingIsClaimedAheadBesideLongTasks(t *testing.T) {
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

func TestPrefetch_ALongTaskIsForgottenAfterTenTimesItsDuration(t *testing.T) {
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
