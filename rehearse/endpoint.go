package rehearse

import (
	"context"
	"time"
)

// moveEndpoint schedules the endpoint to follow readiness, with the lag. An endpoint that a
// deletion removes does not return.
func (r *rehearsal) moveEndpoint(ready bool) {
	if r.traffic == nil || !r.deleted.IsZero() && r.order.removesEndpoint() {
		return
	}
	when := time.Now().Add(r.config.lag(r.plan))
	switch {
	case ready:
		r.back = when
	case r.gone.IsZero():
		r.gone, r.back = when, time.Time{}
	}
}

// wait waits until a moment, or until over is closed. Meanwhile it acts on the results of probes,
// and removes and restores the endpoint.
func (r *rehearsal) wait(ctx context.Context, until time.Time, over <-chan struct{}) error {
	for {
		next, endpoint := until, r.nextMove()
		if due := !endpoint.IsZero() && !endpoint.After(until); due {
			next = endpoint
		}
		timer := time.NewTimer(time.Until(next))
		select {
		case <-timer.C:
			if !r.move(time.Now()) && !time.Now().Before(until) {
				return nil
			}
		case <-r.probing.news:
			timer.Stop()
			r.hear()
		case <-over:
			timer.Stop()
			return nil
		case <-ctx.Done():
			timer.Stop()
			return context.Cause(ctx)
		}
	}
}

// nextMove is when the endpoint is to be removed or restored, zero for never.
func (r *rehearsal) nextMove() time.Time {
	switch {
	case r.traffic == nil:
		return time.Time{}
	case !r.traffic.isGone():
		return r.gone
	}
	return r.back
}

// move removes or restores the endpoint, if it is time to.
func (r *rehearsal) move(now time.Time) bool {
	when := r.nextMove()
	if when.IsZero() || when.After(now) {
		return false
	}
	if !r.traffic.isGone() {
		r.traffic.remove(when)
		r.say("endpoint gone", "no new client connects; open connections stay")
		return true
	}
	r.traffic.restore(when)
	r.gone, r.back = time.Time{}, time.Time{}
	r.say("endpoint back", "clients connect again")
	return true
}
