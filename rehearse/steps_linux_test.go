package rehearse

import (
	"net"
	"syscall"
	"testing"
	"time"
)

// A rehearsal that was too late to kill a program must not count its end as one in time.
func TestEnd_AfterTheDeadlineIsNotInTime(t *testing.T) {
	deadline := time.Now()
	for after, want := range map[time.Duration]bool{
		-time.Second: true, 0: true, 50 * time.Millisecond: true, 1700 * time.Millisecond: false,
	} {
		r := &rehearsal{deadline: deadline, program: &program{endedAt: deadline.Add(after)}}
		if got := r.endedInTime(); got != want {
			t.Errorf("an end %v after the deadline is in time: %v, want %v", after, got, want)
		}
	}
}

// The advice of the finding is to leave a second of the grace period, or a tenth of it where that
// is less: a program that follows it is not found again.
func TestTight_IsFoundUnlessTheProgramFollowsTheAdvice(t *testing.T) {
	for _, c := range []struct {
		whole, left time.Duration
		want        int
	}{
		{30 * time.Second, time.Second, 0},
		{30 * time.Second, 990 * time.Millisecond, 1},
		{10 * time.Second, time.Second, 0},
		{5 * time.Second, 500 * time.Millisecond, 0},
		{5 * time.Second, 490 * time.Millisecond, 1},
		{5 * time.Second, -20 * time.Millisecond, 1}, // the kill was late
	} {
		now := time.Now()
		r := &rehearsal{
			config: &Config{Program: Container{StopSignal: syscall.SIGTERM}}, signalled: now,
			deadline: now.Add(c.whole), stopped: &program{endedAt: now.Add(c.whole - c.left)},
		}
		found := 0
		r.judgeEnd(func(code Code, fails bool, _ string, _ ...any) {
			if code != Tight || fails {
				t.Errorf("%v: %s, a failure: %v", c, code, fails)
			}
			found++
		})
		if found != c.want {
			t.Errorf("%v left of %v: %d findings, want %d", c.left, c.whole, found, c.want)
		}
	}
}

// Clients' waits are judged without the time in which the rehearsal did not run, so it waits for
// longer by that time, as long as the program has time.
func TestPatience_OfAQuickRehearsalThatWasLateIsLonger(t *testing.T) {
	for _, c := range []struct {
		late, grace, want time.Duration
		cutShort          bool
	}{
		{0, 30 * time.Second, quickEnough, true},
		{6 * time.Second, 30 * time.Second, quickEnough + 6*time.Second, true},
		{6 * time.Second, 12 * time.Second, 12 * time.Second, false},
	} {
		now := time.Now()
		r := &rehearsal{config: &Config{CutShort: true}, traffic: &traffic{}, deleted: now, signalled: now, deadline: now.Add(c.grace)}
		r.traffic.late.add(c.late)
		if until, cutShort := r.patience(); until.Sub(now) != c.want || cutShort != c.cutShort {
			t.Errorf("%v late, a grace of %v: %v, %v", c.late, c.grace, until.Sub(now), cutShort)
		}
	}
}

// The clients that still connect after the signal are as many, however long the requests before it
// took to send.
func TestAskSlowly_MovesTheEndOfTheEndpointByTheTimeThatItTakes(t *testing.T) {
	for _, lag := range []time.Duration{0, time.Second} {
		reads := make(chan struct{})
		where := accepting(t, func(*net.TCPConn) { <-reads })
		tr := newTraffic(targets(t, Target{URL: "http://" + where, Use: Slow}), 1)
		deleted := time.Now()
		r := &rehearsal{config: &Config{}, traffic: tr, deleted: deleted, gone: deleted.Add(lag)}
		if err := r.askSlowly(t.Context()); err != nil {
			t.Fatal(err)
		}
		took := time.Since(deleted)
		close(reads)
		tr.stop()
		moved := r.gone.Sub(deleted) - lag
		if lag == 0 && moved != 0 || lag > 0 && (moved < acceptedWithin || moved > took-slowLead) {
			t.Errorf("of an endpoint that goes in %v: moved by %v, and sending took %v", lag, moved, took-slowLead)
		}
	}
}
