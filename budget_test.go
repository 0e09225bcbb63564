package lastcall

import (
	"strings"
	"testing"
	"time"
)

func mustBudget(t *testing.T, c Config, kubernetes bool) budget {
	t.Helper()
	b, err := c.budget(kubernetes)
	if err != nil {
		t.Fatal(err)
	}
	return b
}

func TestGrace_TheZeroConfigHasAGraceOf30Seconds(t *testing.T) {
	b := mustBudget(t, Config{}, false)
	if b.total != 30*time.Second || b.delay != 0 || b.reserve != 3*time.Second {
		t.Errorf("%+v", b)
	}
}

func TestBudget_IsGraceMinusPreStopMinusTheKubeletsRounding(t *testing.T) {
	for _, c := range []struct {
		name       string
		cfg        Config
		kubernetes bool
		want       time.Duration
	}{
		{"alone", Config{Grace: 40 * time.Second}, false, 40 * time.Second},
		{"in Kubernetes", Config{Grace: 40 * time.Second}, true, 39 * time.Second},
		{"with a hook in Kubernetes", Config{Grace: 40 * time.Second, PreStop: 10 * time.Second}, true, 29 * time.Second},
		{"a hook means Kubernetes", Config{Grace: 40 * time.Second, PreStop: 10 * time.Second}, false, 29 * time.Second},
		{"no hook, said so", Config{Grace: 40 * time.Second, PreStop: -1}, false, 40 * time.Second},
	} {
		if got := mustBudget(t, c.cfg, c.kubernetes).total; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBudget_TheDelayDefaultsTo3SecondsInKubernetesWithoutAHook(t *testing.T) {
	for _, c := range []struct {
		name       string
		cfg        Config
		kubernetes bool
		want       time.Duration
	}{
		{"in Kubernetes", Config{}, true, 3 * time.Second},
		{"elsewhere", Config{}, false, 0},
		{"the hook has waited already", Config{PreStop: 5 * time.Second}, true, 0},
		{"none", Config{Delay: -1}, true, 0},
		{"given", Config{Delay: 7 * time.Second}, true, 7 * time.Second},
		{"given, elsewhere", Config{Delay: 7 * time.Second}, false, 7 * time.Second},
		{"no grace", Config{Grace: -1}, true, 3 * time.Second},
		{"no grace, none", Config{Grace: -1, Delay: -1}, true, 0},
		{"a budget of 10 s", Config{Grace: 11 * time.Second}, true, 3 * time.Second},
		{"less in a smaller one", Config{Grace: 5 * time.Second}, true, time.Second},
	} {
		if got := mustBudget(t, c.cfg, c.kubernetes).delay; got != c.want {
			t.Errorf("%s: %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBudget_TheReserveIsATenthBetween1And5SecondsAndAtMostHalf(t *testing.T) {
	for grace, want := range map[time.Duration]time.Duration{
		20 * time.Second:      2 * time.Second,
		5 * time.Second:       time.Second,
		time.Hour:             5 * time.Second,
		time.Second:           500 * time.Millisecond,
		30 * time.Millisecond: 15 * time.Millisecond,
		1:                     1,
		-1:                    5 * time.Second,
	} {
		if got := mustBudget(t, Config{Grace: grace}, false).reserve; got != want {
			t.Errorf("grace %v: %v, want %v", grace, got, want)
		}
	}
	if got := mustBudget(t, Config{Grace: 20 * time.Second, Reserve: 15 * time.Second}, false).reserve; got != 15*time.Second {
		t.Errorf("a given reserve became %v", got)
	}
}

func TestBudget_AGivenReserveIsKeptWhole(t *testing.T) {
	began := time.Now()
	d := mustBudget(t, Config{Grace: 10 * time.Second, Reserve: 8 * time.Second}, false).from(began, time.Time{})
	if got := d.interrupt.Sub(began); got != 2*time.Second {
		t.Errorf("interrupt after %v, want 2s", got)
	}
}

func TestBudget_TheReserveIsHalfForReturningAndEndsWith100MillisecondsForTheReport(t *testing.T) {
	began := time.Now()
	cfg, _ := testConfig()
	d := mustBudget(t, cfg, false).from(began, time.Time{})
	for _, c := range []struct {
		name string
		at   time.Time
		want time.Duration
	}{{"interrupt", d.interrupt, atInterrupt}, {"contexts", d.contexts, atInterrupt + lastRequests}, {"abandon", d.abandon, atAbandon}, {"close", d.close, atClosed}, {"exit", d.exit, atExit}} {
		if got := c.at.Sub(began); got != c.want {
			t.Errorf("%s at %v, want %v", c.name, got, c.want)
		}
	}
}

func TestBudget_ThatCannotFitIsAnErrorThatNamesTheNumbers(t *testing.T) {
	for _, c := range []struct {
		cfg        Config
		kubernetes bool
		want       []string
	}{
		{Config{Grace: 5 * time.Second, PreStop: 5 * time.Second}, false, []string{"5s", "raise the grace"}},
		{Config{Grace: 10 * time.Second, PreStop: 20 * time.Second}, false, []string{"10s", "20s"}},
		{Config{Grace: 500 * time.Millisecond}, true, []string{"500ms", "1s"}},
		{Config{Grace: 8 * time.Second, Reserve: 9 * time.Second}, false, []string{"8s", "9s", "lower Reserve"}},
		{Config{Grace: 9 * time.Second, Delay: 8500 * time.Millisecond}, false, []string{"9s", "8.5s", "1s", "lower Delay"}},
		{Config{Grace: -5 * time.Second}, false, []string{"Grace", "-5s"}},
		{Config{PreStop: -2}, false, []string{"PreStop", "-2ns"}},
		{Config{Delay: -2}, false, []string{"Delay", "-2ns"}},
		{Config{Reserve: -2}, false, []string{"Reserve", "-2ns"}},
		{Config{Reserve: -1}, false, []string{"Reserve", "-1"}},
	} {
		_, err := c.cfg.budget(c.kubernetes)
		if err == nil {
			t.Errorf("%+v fits", c.cfg)
			continue
		}
		for _, want := range c.want {
			if !strings.Contains(err.Error(), want) {
				t.Errorf("%q does not name %q", err, want)
			}
		}
	}
}

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
