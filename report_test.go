package lastcall

import (
	"context"
	"errors"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

func TestTheWorstPartOfAReportDecidesTheExitCode(t *testing.T) {
	line, failure := []Entry{{Count: 1}}, []error{errBroken}
	for want, reports := range map[int][]Report{
		0:  {{}, {Finished: line}, {BackgroundErrors: 7}, {Signal: syscall.SIGTERM, Frozen: time.Second}},
		75: {{Interrupted: line}, {Interrupted: line, Finished: line}},
		1:  {{Failures: failure}, {Failures: failure, Interrupted: line}},
		3:  {{Abandoned: line}, {Abandoned: line, Failures: failure, Interrupted: line}},
	} {
		for _, r := range reports {
			if got := r.ExitCode(); got != want {
				t.Errorf("%+v: code %d, want %d", r, got, want)
			}
		}
	}
}

func TestTheReportIsASummaryThenTheWorstFirstThenTheStacks(t *testing.T) {
	r := Report{
		Signal: syscall.SIGTERM, Took: 12345678 * time.Microsecond, Frozen: 2 * time.Second,
		Finished:         []Entry{{Kind: EntryRequest, Name: "api", Count: 3, Site: "app/main.go:10"}},
		Interrupted:      []Entry{{Kind: EntryGo, Name: "import", Count: 1, Age: time.Minute, Site: "app/main.go:20", Err: errBroken}},
		Abandoned:        []Entry{{Kind: EntryLoop, Name: "poll", Count: 2, Age: time.Hour, Site: "app/main.go:30", Stack: "  main.poll\n      /src/app/main.go:31\n"}},
		Failures:         []error{errors.New("go export: no space")},
		BackgroundErrors: 4,
	}
	const want = `stopped by SIGTERM in 12.346s, exit code 3: 3 finished, 1 interrupted, 2 abandoned
the process was frozen for about 2s meanwhile
abandoned   loop poll x2, 1h0m0s old, started at app/main.go:30
failed      go export: no space
failed      4 times in the background
interrupted go import, 1m0s old, started at app/main.go:20: the disk is full
finished    request api x3, started at app/main.go:10

loop poll is at
  main.poll
      /src/app/main.go:31
`
	if got := r.String(); got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
	if got := (Report{Cause: errBroken}).String(); !strings.HasPrefix(got, "stopped by a failure in 0s") {
		t.Errorf("%q", got)
	}
	if got := (Report{}).String(); got != "stopped in 0s, exit code 0: 0 finished, 0 interrupted, 0 abandoned\n" {
		t.Errorf("%q", got)
	}
}

func TestLinesGoFromTheOldestAndThenByName(t *testing.T) {
	lines := []Entry{
		{Name: "b", Age: time.Second}, {Name: "a", Age: time.Second + time.Millisecond},
		{Name: "old", Age: time.Hour}, {Name: "a", Kind: EntryGo, Age: time.Second}, {Name: "new"},
	}
	sortLines(lines)
	var got []string
	for _, l := range lines {
		got = append(got, l.Name)
	}
	if want := []string{"old", "a", "a", "b", "new"}; !slices.Equal(got, want) {
		t.Errorf("%v, want %v", got, want)
	}
}

func TestAReportSaysWhoFinishedWhoWasInterruptedAndWhoWasAbandoned(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, log := newTestGroup(t)
		letGo := make(chan struct{})
		defer close(letGo)
		mustStart(t, g.Go("deaf", deaf(letGo)))
		mustStart(t, g.Go("before the stop", takes(0)))
		time.Sleep(time.Minute)
		for range 3 {
			mustStart(t, g.Go("work", obedient))
		}
		mustStart(t, g.Loop("consumer", obedient))
		g.Stop(nil)
		r := g.Wait()
		wantReport(t, r, 3, "loop consumer", "go work x3", "go deaf")
		if a := r.Abandoned[0]; a.Age != time.Minute+atAbandon || !strings.Contains(a.Site, "/report_test.go:") {
			t.Errorf("abandoned: %+v", a)
		}
		if i := r.Interrupted[0]; i.Age < atInterrupt || !errors.Is(i.Err, i.Err) || i.Err == nil || i.Stack != "" {
			t.Errorf("interrupted: %+v", i)
		}
		if f := r.Finished[0]; f.Age != 0 || f.Site == "" || f.Stack != "" {
			t.Errorf("finished: %+v", f)
		}
		if len(log.lines("msg=stopped", "code=3", "finished=1", "interrupted=3", "abandoned=1")) != 1 {
			t.Errorf("the log is %s", log)
		}
	})
}

func TestWhoReturnsAfterAbandonIsNotCountedTwice(t *testing.T) {
	bubble(t, func(t *testing.T) {
		g, _ := newTestGroup(t)
		letGo := make(chan struct{})
		mustStart(t, g.Go("deaf", deaf(letGo)))
		mustStart(t, g.Go("late", func(context.Context) error { <-letGo; return errBroken }))
		g.Defer("slow", func(context.Context) error { close(letGo); time.Sleep(100 * time.Millisecond); return nil })
		g.Stop(nil)
		wantReport(t, g.Wait(), 3, "", "", "go deaf, go late")
	})
}

func TestTheTerminationLogIsCutBetweenLinesAndSaysSo(t *testing.T) {
	if got := shorten("short\n", 4096); got != "short\n" {
		t.Errorf("%q", got)
	}
	exact := strings.Repeat("x", 4096)
	if got := shorten(exact, 4096); got != exact {
		t.Errorf("%d bytes", len(got))
	}
	long := strings.Repeat("one line of the report\n", 1000)
	got := shorten(long, 4096)
	if len(got) > 4096 || len(got) < 4000 || !strings.HasSuffix(got, "of the report\n... the log has the rest\n") {
		t.Errorf("%d bytes, which end in %q", len(got), got[len(got)-60:])
	}
}

func TestSignalsAreNamedAsKillNamesThem(t *testing.T) {
	for _, s := range []syscall.Signal{syscall.SIGHUP, syscall.SIGINT, syscall.SIGQUIT, syscall.SIGKILL, syscall.SIGTERM} {
		if name := signalName(s); !strings.HasPrefix(name, "SIG") {
			t.Errorf("%v is named %q", s, name)
		}
	}
	if name := signalName(syscall.Signal(63)); !strings.Contains(name, "63") {
		t.Errorf("signal 63 is named %q", name)
	}
	if n := signalNumber(syscall.SIGINT); n != 2 {
		t.Errorf("SIGINT is %d", n)
	}
}
