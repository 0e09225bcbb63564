package rehearse

import (
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
