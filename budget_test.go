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
