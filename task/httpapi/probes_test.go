package httpapi

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
)

// hanging is a store that does not answer while it hangs.
type hanging struct {
	task.Store
	hangs atomic.Bool
	asked atomic.Int32
}

func (s *hanging) Find(ctx context.Context, q task.Query) ([]task.Task, error) {
	s.asked.Add(1)
	if s.hangs.Load() {
		<-ctx.Done()
		return nil, context.Cause(ctx)
	}
	return s.Store.Find(ctx, q)
}

func TestProbes_ReadinessEndsWithLastCallAndWithTheStoreAndLifeDoesNot(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &hanging{Store: memstore.New()}
		var ready atomic.Bool
		var log logBook
		h := ProbeHandler(ProbeConfig{Store: store, Ready: ready.Load, Logger: slog.New(slog.NewTextHandler(&log, nil))})
		probe := func(path string) (int, string, time.Duration) {
			began := time.Now()
			w := httptest.NewRecorder()
			r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
			r.Host = "10.0.0.7:8080" // as the kubelet asks
			h.ServeHTTP(w, r)
			return w.Code, w.Body.String(), time.Since(began)
		}
		if code, text, _ := probe("/readyz"); code != 503 || !strings.Contains(text, "not set up yet") {
			t.Errorf("before the set-up: %d %s", code, text)
		}
		ready.Store(true)
		if code, text, _ := probe("/readyz"); code != 200 || text != "ok\n" {
			t.Errorf("ready: %d %s", code, text)
		}
		store.hangs.Store(true)
		time.Sleep(probeTrusted)
		if code, text, took := probe("/readyz"); code != 503 || !strings.Contains(text, "store does not answer") || took > probePatience {
			t.Errorf("the store hangs: %d %s after %v", code, text, took)
		}
		if code, _, took := probe("/healthz"); code != 200 || took != 0 {
			t.Errorf("alive: %d after %v", code, took)
		}
		store.hangs.Store(false)
		time.Sleep(probeTrusted)
		if code, _, _ := probe("/readyz"); code != 200 {
			t.Errorf("the store is back: %d", code)
		}
		ready.Store(false)
		if code, _, _ := probe("/readyz"); code != 503 {
			t.Errorf("after last call: %d", code)
		}
		if code, _, _ := probe("/v1/tasks"); code != 404 {
			t.Errorf("something else: %d", code)
		}
		if text := log.String(); strings.Count(text, "not ready") != 1 || strings.Count(text, "ready again") != 1 {
			t.Errorf("the log has:\n%s", text)
		}
	})
}

func TestProbes_ManyProbesAskTheStoreOnce(t *testing.T) {
	store := &hanging{Store: memstore.New()}
	h := ProbeHandler(ProbeConfig{Store: store, Logger: slog.New(slog.DiscardHandler)})
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			w := httptest.NewRecorder()
			h.ServeHTTP(w, httptest.NewRequestWithContext(t.Context(), http.MethodGet, "/readyz", nil))
			if w.Code != 200 {
				t.Error(w.Code)
			}
		}
	})
	if n := store.asked.Load(); n != 1 {
		t.Errorf("asked %d times", n)
	}
}

func TestProbes_AProbeThatIsBrokenOffSpoilsNoOthers(t *testing.T) {
	h := ProbeHandler(ProbeConfig{Store: memstore.New(), Logger: slog.New(slog.DiscardHandler)})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errors.New("the client went away"))
	w := httptest.NewRecorder()
	h.ServeHTTP(w, httptest.NewRequestWithContext(ctx, http.MethodGet, "/readyz", nil))
	if w.Code != 200 {
		t.Errorf("%d %s", w.Code, w.Body)
	}
}
