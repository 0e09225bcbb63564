package prom

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestStore_ThatIsMeasuredKeepsTheContract(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Open: func(*testing.T) task.Store { return New().Store(memstore.New()) },
		// Without the cases about a worker that looks killed: memstore's own tests have them.
		Bubble: true,
	})
}

// txStore is a task.TxStore that returns a given error.
type txStore struct {
	task.Store
	err   error
	calls []string
}

func (s *txStore) AddTx(context.Context, task.Tx, []task.NewTask) ([]task.AddResult, error) {
	s.calls = append(s.calls, "add")
	return []task.AddResult{{}}, s.err
}

func (s *txStore) FinishTx(context.Context, task.Tx, task.Change) error {
	s.calls = append(s.calls, "finish")
	return s.err
}

func (s *txStore) SaveTx(context.Context, task.Tx, task.Change) error {
	s.calls = append(s.calls, "save")
	return s.err
}

func (s *txStore) Wake() { s.calls = append(s.calls, "wake") }

// pings has a method Ping.
type pings struct{}

var errAway = errors.New("away")

func (pings) Ping(context.Context) error { return errAway }

func TestStore_ThatIsMeasuredCanDoWhatTheOtherCan(t *testing.T) {
	inner := &txStore{Store: memstore.New()}
	for name, c := range map[string]struct {
		store     task.Store
		tx, pings bool
	}{
		"a plain one":         {inner.Store, false, false},
		"one of transactions": {inner, true, false},
		"one that answers Ping": {struct { // such as a store on a server
			task.Store
			pings
		}{inner.Store, pings{}}, false, true},
		"one of both": {struct {
			task.TxStore
			pings
		}{inner, pings{}}, true, true},
	} {
		measured := New().Store(c.store)
		if _, ok := measured.(task.TxStore); ok != c.tx {
			t.Errorf("%s: it is a TxStore: %v", name, ok)
		}
		p, ok := measured.(pinger)
		if ok != c.pings {
			t.Errorf("%s: it has Ping: %v", name, ok)
		} else if ok && !errors.Is(p.Ping(t.Context()), errAway) {
			t.Errorf("%s: its Ping is not the other's", name)
		}
	}
}

func TestStore_MeasuresTheCallsInTransactions(t *testing.T) {
	inner := &txStore{Store: memstore.New()}
	m := New()
	s, ok := m.Store(inner).(task.TxStore)
	if !ok {
		t.Fatal("it is no TxStore")
	}
	call := func() (errs [3]error) {
		_, errs[0] = s.AddTx(t.Context(), nil, nil)
		errs[1] = s.FinishTx(t.Context(), nil, task.Change{})
		errs[2] = s.SaveTx(t.Context(), nil, task.Change{})
		return errs
	}
	for _, inner.err = range []error{nil, task.ErrLeaseLost, errAway} {
		for _, err := range call() {
			if !errors.Is(err, inner.err) {
				t.Errorf("%v, want %v", err, inner.err)
			}
		}
	}
	s.Wake()
	if got, want := fmt.Sprint(inner.calls), "[add finish save add finish save add finish save wake]"; got != want {
		t.Errorf("called %s, want %s", got, want)
	}
	has(t, scrape(t, m), `lastcall_store_seconds_count{call="add_tx"} 3`, `lastcall_store_seconds_count{call="finish_tx"} 3`,
		`lastcall_store_seconds_count{call="save_tx"} 3`, `lastcall_store_errors_total{call="finish_tx"} 1`,
		`lastcall_store_errors_total{call="save_tx"} 1`, `lastcall_stale_writes_refused_total 2`)
}
