package demo

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"
)

func TestPace_BoundsWhatIsReadInASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, begun := newPace(1000), time.Now()
		for range 10 {
			if err := p.wait(t.Context(), 500); err != nil {
				t.Fatal(err)
			}
		}
		if took := time.Since(begun); took != 5*time.Second {
			t.Errorf("5,000 bytes at 1,000 a second took %v", took)
		}
		time.Sleep(time.Hour) // idle time saves nothing up
		begun = time.Now()
		if err := p.wait(t.Context(), 1000); err != nil || time.Since(begun) != time.Second {
			t.Errorf("after a pause: %v, %v", time.Since(begun), err)
		}
	})
}

func TestPace_EndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		enough, begun := errors.New("enough"), time.Now()
		time.AfterFunc(time.Second, func() { cancel(enough) })
		if err := newPace(1).wait(ctx, 1000); !errors.Is(err, enough) || time.Since(begun) != time.Second {
			t.Errorf("%v after %v", err, time.Since(begun))
		}
	})
}

func TestPace_OfNothingIsNoBound(t *testing.T) {
	if p := newPace(0); p != nil || p.wait(t.Context(), 1<<30) != nil {
		t.Errorf("%+v", p)
	}
}
