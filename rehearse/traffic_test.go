package rehearse

import (
	"net"
	"slices"
	"strings"
	"testing"
	"time"
)

// targets are checked ones.
func targets(t *testing.T, given ...Target) (checked []*target) {
	t.Helper()
	for _, one := range given {
		c, err := newTarget(one, false)
		if err != nil {
			t.Fatal(err)
		}
		checked = append(checked, c)
	}
	return checked
}

// A server that answers nothing must not have a thousand requests become ten thousand, and those that
// were not sent are told.
func TestTraffic_WhatIsTooMuchIsNotSentAndSaid(t *testing.T) {
	l, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	tr := newTraffic(targets(t, Target{URL: "http://" + l.Addr().String()}), maxRate)
	told := func() bool {
		tr.mu.Lock()
		defer tr.mu.Unlock()
		return slices.ContainsFunc(tr.failed, func(r result) bool { return r.failure == otherwise && strings.Contains(r.text, "not sent") })
	}
	for deadline := time.Now().Add(8 * time.Second); !told(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatal("nobody says that requests are not sent")
		}
	}
	tr.stop()
	if n := tr.counts().answered; n != 0 {
		t.Errorf("%d were answered", n)
	}
}
