package demo

import (
	"context"
	"time"
)

// pace bounds how fast a run reads. It must be used by one goroutine only. Nil is no bound.
type pace struct {
	perSecond float64
	next      time.Time // the earliest time for the next read
}

func newPace(bytesPerSecond int64) *pace {
	if bytesPerSecond <= 0 {
		return nil
	}
	return &pace{perSecond: float64(bytesPerSecond), next: time.Now()}
}

// wait waits until the next n bytes may be read, or returns the cause of ctx. Time in which nothing
// was read is not made up for.
func (p *pace) wait(ctx context.Context, n int) error {
	if p == nil || n <= 0 {
		return nil
	}
	now := time.Now()
	if p.next.Before(now) {
		p.next = now
	}
	p.next = p.next.Add(time.Duration(float64(n) / p.perSecond * float64(time.Second)))
	timer := time.NewTimer(time.Until(p.next))
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
