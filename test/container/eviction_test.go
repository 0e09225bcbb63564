package container

import (
	"io"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// attempt is a request on a connection of its own.
type attempt struct {
	ended   time.Time
	err     error
	closing bool // the answer announces the end of the connection
}

// callers send requests, each on a new connection, until end is called, whatever the outcomes are:
// like clients for which a pod's endpoint stays ready.
func callers(n int, url string) (end func() []attempt) {
	var (
		all  sync.WaitGroup
		mu   sync.Mutex
		got  []attempt
		over = make(chan struct{})
	)
	for range n {
		all.Go(func() {
			client := http.Client{Timeout: 15 * time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
			for {
				select {
				case <-over:
					return
				case <-time.After(20 * time.Millisecond):
				}
				var a attempt
				resp, err := client.Get(url)
				if err == nil {
					_, err = io.Copy(io.Discard, resp.Body)
					_ = resp.Body.Close() // it was read
					a.closing = resp.Close
				}
				a.ended, a.err = time.Now(), err
				mu.Lock()
				got = append(got, a)
				mu.Unlock()
			}
		})
	}
	return func() []attempt {
		close(over)
		all.Wait()
		return got
	}
}

// said returns when the program logged a line that contains a text.
func (c *container) said(what string) time.Time {
	c.t.Helper()
	for line := range strings.Lines(c.text()) {
		if !strings.Contains(line, what) {
			continue
		}
		_, rest, _ := strings.Cut(line, `"time":"`)
		stamp, _, _ := strings.Cut(rest, `"`)
		at, err := time.Parse(time.RFC3339Nano, stamp)
		if err != nil {
			c.t.Fatalf("when was that? %s", line)
		}
		return at
	}
	c.t.Fatalf("the log has no %q:\n%s", what, c.text())
	return time.Time{}
}

// In a soft eviction the kubelet stops the containers without deleting the pod, and its endpoint
// stays ready until they are gone: new connections arrive during the whole grace.
func TestContainer_ASoftEvictionRefusesNobodyUntilTheInterrupt(t *testing.T) {
	const grace = 20 // the program assumes less, so that a busy machine does not fail the test
	f := newFixture(t, 600)
	s := f.serve("12s")
	f.works(s.submit("steps"))
	end := callers(4, "http://"+s.address+"/v1/counts")
	before := time.Now()
	until(t, "clients are answered", func() bool { return time.Since(before) > time.Second })
	began := time.Now()
	s.terminate(grace)
	until(t, "who asks now is refused", func() bool { return statusOf(s.address, "/healthz") == 0 })
	all := end()
	s.exits(0, "Completed")
	closed, interrupt := s.said(`"msg":"listeners close"`), s.said(`"phase":"interrupt"`)
	if closed.Sub(began) < 6*time.Second || interrupt.Sub(closed) > time.Second {
		t.Errorf("the listeners closed %v after SIGTERM, and %v before the interrupt", closed.Sub(began), interrupt.Sub(closed))
	}
	answered, refused, closing := 0, 0, 0
	for _, a := range all {
		switch {
		case a.err == nil && a.ended.After(began):
			if answered++; a.closing {
				closing++
			}
		case a.err != nil && a.ended.Before(closed):
			if refused++; refused == 1 {
				t.Errorf("%v after SIGTERM and %v before the interrupt: %v", a.ended.Sub(began), interrupt.Sub(a.ended), a.err)
			}
		}
	}
	t.Logf("of %d requests %d were answered after SIGTERM in %v, and %d refused until then", len(all), answered, closed.Sub(began), refused)
	if refused > 0 || answered < 50 || closing == 0 || !slices.ContainsFunc(all, func(a attempt) bool { return a.ended.After(closed) }) {
		t.Errorf("of %d requests %d were answered after SIGTERM, %d with Connection: close, and %d refused", len(all), answered, closing, refused)
	}
}
