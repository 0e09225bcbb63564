package rehearse

import (
	"net"
	"testing"
	"time"
)

// A server that reads one request at a time must not delay the stop signal until its endpoint is
// gone.
func TestSlow_RequestsThatNobodyReadsHoldUpTheSignalForAMomentOnly(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close() // it accepts nothing
	tr := newTraffic(targets(t, Target{URL: "http://" + l.Addr().String(), Use: Slow}), 1)
	defer tr.stop()
	begun := time.Now()
	tr.sendSlow()
	// What this process waited for a processor is not the fault of the bound.
	if took := time.Since(begun); took < acceptedWithin || took-tr.late.total() > defaultLag-slowLead {
		t.Errorf("%v until the signal, want a little more than %v", took, acceptedWithin)
	}
}
