package lastcall

import (
	"strings"
	"testing"
	"time"
)

// FuzzBudget_FitsOrIsRefused checks that the stages never add up to more than the grace, whatever
// the durations, and that the error for a budget that cannot fit names the numbers.
func FuzzBudget_FitsOrIsRefused(f *testing.F) {
	s := int64(time.Second)
	f.Add(int64(0), int64(0), int64(0), int64(0), false, int64(0), int64(0))
	f.Add(30*s, 5*s, int64(-1), 2*s, true, 10*s, 3*s)
	f.Add(int64(-1), int64(0), 3*s, int64(0), true, int64(0), s)
	f.Add(int64(-1), int64(0), 3*s, int64(0), true, 2*s, s)
	f.Add(10*s, int64(0), 2*s, 8*s, false, int64(0), 9*s)
	f.Add(int64(1), int64(0), int64(0), int64(1), false, int64(1), int64(1))
	f.Add(2*s, 1*s-1, int64(1), int64(0), true, s, 5*s)
	f.Add(int64(1<<62), int64(1), int64(1<<61), int64(1<<61), true, int64(1<<60), int64(1<<59))
	f.Add(int64(-1<<63), int64(1<<62), int64(-2), int64(-1), true, int64(-5), int64(-5))
	f.Fuzz(func(t *testing.T, grace, preStop, delay, reserve int64, kubernetes bool, limit, at int64) {
		cfg := Config{Grace: time.Duration(grace), PreStop: time.Duration(preStop), Delay: time.Duration(delay), Reserve: time.Duration(reserve)}
		b, err := cfg.budget(kubernetes)
		if err != nil {
			namesTheNumbers(t, cfg, err)
			return
		}
		checkBudget(t, cfg, b)
		// Moments far in the future do not fit in a time.Duration since 2000.
		const far = 1 << 60
		if grace > far || preStop > far || delay > far || reserve > far || limit > far || at > far || at < 0 {
			return
		}
		began := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)
		var end time.Time
		if limit != 0 {
			end = began.Add(time.Duration(limit))
		}
		d := b.from(began, end)
		latestEnd := checkStages(t, b, d, began, end)
		checkMovedStages(t, b, d, began.Add(time.Duration(at)), latestEnd)
	})
}

// namesTheNumbers checks that an error says which of the durations were wrong.
func namesTheNumbers(t *testing.T, c Config, err error) {
	for _, d := range []time.Duration{c.Grace, c.PreStop, c.Delay, c.Reserve} {
		if d != 0 && strings.Contains(err.Error(), d.String()) || d == none && strings.Contains(err.Error(), "-1") {
			return
		}
	}
	// With defaults only: the default grace minus a hook.
	if !strings.Contains(err.Error(), "30s") {
		t.Errorf("%+v: %q names none of the numbers", c, err)
	}
}

func checkBudget(t *testing.T, c Config, b budget) {
	t.Helper()
	if b.reserve <= 0 || b.delay < 0 || b.openDelay < b.delay || b.report < 0 || b.report >= b.reserve {
		t.Errorf("%+v: %+v", c, b)
	}
	if b.unlimited {
		return
	}
	grace := c.Grace
	if grace == 0 {
		grace = defaultGrace
	}
	if b.total > grace-max(c.PreStop, 0) || b.openDelay > b.total-b.reserve || b.reserve > b.total {
		t.Errorf("%+v does not fit in %v: %+v", c, grace, b)
	}
	if c.Reserve > 0 && b.reserve != c.Reserve || c.Delay > 0 && b.delay != c.Delay {
		t.Errorf("%+v: what was given is not what is used: %+v", c, b)
	}
}

// checkStages checks that the stages are in order and end in time. It returns
// the moment at which everything must be over, or zero if there is none.
func checkStages(t *testing.T, b budget, d deadlines, began, limit time.Time) time.Time {
	t.Helper()
	if b.unlimited && limit.IsZero() {
		if !d.interrupt.IsZero() || !d.contexts.IsZero() || !d.abandon.IsZero() || !d.close.IsZero() || !d.exit.IsZero() {
			t.Errorf("a deadline without a grace: %+v", d)
		}
		return time.Time{}
	}
	inOrder(t, d)
	end := began.Add(b.total)
	if b.unlimited || !limit.IsZero() && limit.Before(end) {
		end = latest(limit, began)
	}
	if d.interrupt.Before(began) || d.exit.After(end) || d.delay.After(d.interrupt) {
		t.Errorf("from %v to %v: %+v", began, end, d)
	}
	return end
}

func inOrder(t *testing.T, d deadlines) {
	t.Helper()
	if d.contexts.Before(d.interrupt) || d.abandon.Before(d.contexts) || d.close.Before(d.abandon) || d.exit.Before(d.close) {
		t.Errorf("not in order: %+v", d)
	}
}

// checkMovedStages checks the same after a second signal, and that a thaw moves
// only deadlines that have passed.
func checkMovedStages(t *testing.T, b budget, d deadlines, now, end time.Time) {
	t.Helper()
	soon := d
	b.hasten(&soon, now)
	inOrder(t, soon)
	if soon.delay.After(now) || soon.contexts.After(now) || soon.exit.After(now.Add(b.reserve)) || !end.IsZero() && soon.exit.After(end) {
		t.Errorf("interrupted at %v, to end at %v: %+v", now, end, soon)
	}

	thawed := d
	b.thaw(&thawed, now)
	if d.interrupt.IsZero() || now.Before(d.interrupt) {
		if thawed != d {
			t.Errorf("thawed at %v before Interrupt: %+v became %+v", now, d, thawed)
		}
		return
	}
	inOrder(t, thawed)
	if thawed.abandon.Before(now.Add(b.reserve/2)) || thawed.exit.Before(d.exit) {
		t.Errorf("thawed at %v: %+v became %+v", now, d, thawed)
	}
}
