package lastcall

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"
)

func TestNew_ReturnsTheErrorOfABudgetThatCannotFit(t *testing.T) {
	if _, err := New(t.Context(), Config{Grace: time.Second, Reserve: time.Minute}); err == nil || !strings.Contains(err.Error(), "1m0s") {
		t.Errorf("got %v", err)
	}
}

func TestNew_RefusesWhatOnlyMainCanUse(t *testing.T) {
	for _, cfg := range []Config{{Signals: make(chan os.Signal)}, {GraceFlag: time.Second}} {
		if _, err := New(t.Context(), cfg); err == nil {
			t.Errorf("%+v was accepted", cfg)
		}
	}
}

func TestGrace_TheEnvironmentBeatsTheCodeAndTheFlagBeatsBoth(t *testing.T) {
	for _, c := range []struct {
		environment string
		flag, want  time.Duration
	}{
		{"", 0, 5 * time.Second},
		{"45s", 0, 45 * time.Second},
		{" 2m ", 0, 2 * time.Minute},
		{"none", 0, -1},
		{"-1", 0, -1},
		{"45s", 7 * time.Second, 7 * time.Second},
		{"nonsense", 7 * time.Second, 7 * time.Second},
		{"45s", -1, -1},
		{"", 7 * time.Second, 7 * time.Second},
	} {
		t.Setenv(graceVariable, c.environment)
		cfg, err := Config{Grace: 5 * time.Second, GraceFlag: c.flag}.withEnvironment()
		if err != nil || cfg.Grace != c.want {
			t.Errorf("%q and flag %v: %v, %v, want %v", c.environment, c.flag, cfg.Grace, err, c.want)
		}
	}
}

func TestGrace_ThatCannotBeReadIsAnErrorThatQuotesIt(t *testing.T) {
	for _, v := range []string{"45", "-3s", "0s", "soon"} {
		t.Setenv(graceVariable, v)
		if _, err := (Config{}).withEnvironment(); err == nil || !strings.Contains(err.Error(), `"`+v+`"`) || !strings.Contains(err.Error(), graceVariable) {
			t.Errorf("%q: %v", v, err)
		}
	}
	t.Setenv(graceVariable, "")
	if _, err := (Config{GraceFlag: -2}).withEnvironment(); err == nil || !strings.Contains(err.Error(), "-2ns") {
		t.Errorf("a flag of -2ns: %v", err)
	}
}

func TestNew_DoesNotReadTheGraceOfTheEnvironment(t *testing.T) {
	plainEnvironment(t)
	t.Setenv(graceVariable, "nonsense")
	g := mustNew(t.Context(), t, Config{Grace: 3 * time.Second})
	if g.budget.total != 3*time.Second {
		t.Errorf("a budget of %v", g.budget.total)
	}
}

func TestConfig_ThatCannotWorkIsLoggedAndEndsWithCode1WithoutSetup(t *testing.T) {
	plainEnvironment(t)
	log := &written{}
	code := Main(Config{Grace: time.Second, Delay: time.Minute, Logger: log.logger()},
		func(context.Context, *Group) error { t.Error("setup was called"); return nil })
	if code != 1 || len(log.lines("level=ERROR", "1m0s")) != 1 {
		t.Errorf("code %d, log %q", code, log)
	}
	t.Setenv(graceVariable, "soon")
	if code := Main(Config{Logger: log.logger()}, nil); code != 1 {
		t.Errorf("code %d for a grace that cannot be read", code)
	}
}
