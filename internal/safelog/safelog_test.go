package safelog

import (
	"bytes"
	"context"
	"log/slog"
	"strings"
	"sync/atomic"
	"testing"
)

// rotten panics in one of its methods.
type rotten struct {
	slog.Handler
	in string
}

func (r rotten) panics(in string) {
	if r.in == in {
		panic("rotten " + in)
	}
}

func (r rotten) Enabled(context.Context, slog.Level) bool {
	r.panics("Enabled")
	return true
}

func (r rotten) Handle(ctx context.Context, rec slog.Record) error {
	r.panics("Handle")
	return r.Handler.Handle(ctx, rec)
}

func (r rotten) WithAttrs(a []slog.Attr) slog.Handler {
	r.panics("WithAttrs")
	return rotten{r.Handler.WithAttrs(a), r.in}
}

func (r rotten) WithGroup(name string) slog.Handler {
	r.panics("WithGroup")
	return rotten{r.Handler.WithGroup(name), r.in}
}

func TestNew_ALoggerThatPanicsCostsItsLineAtMost(t *testing.T) {
	for _, in := range []string{"Enabled", "Handle", "WithAttrs", "WithGroup", "nothing"} {
		var log, out bytes.Buffer
		l := slog.New(handler{rotten{slog.NewTextHandler(&log, nil), in}, &out, new(atomic.Bool)})
		New(l).With("a", 1).WithGroup("g").Info("said", "b", 2)
		if quiet := in == "nothing" || in == "Enabled"; (out.Len() == 0) != quiet || !quiet && !strings.Contains(out.String(), "rotten "+in) {
			t.Errorf("%s: printed %q", in, &out)
		}
		if !strings.Contains(log.String()+out.String(), "said") {
			t.Errorf("%s: the line is lost: %q", in, &log)
		}
		if in == "nothing" && !strings.Contains(log.String(), "a=1 g.b=2") {
			t.Errorf("logged %q", &log)
		}
	}
}

func TestNew_OfASafeLoggerIsThatOne(t *testing.T) {
	once := New(slog.New(slog.DiscardHandler))
	if New(once).Handler() != once.Handler() {
		t.Error("it is wrapped twice")
	}
	New(nil).Debug("to slog.Default()")
}
