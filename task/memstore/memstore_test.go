package memstore_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/task"
	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

var engine = storetest.Engine{
	Open:   func(*testing.T) task.Store { return memstore.New() },
	Bubble: true,
	Kill: func(t *testing.T, s task.Store, worker string) {
		mem, ok := s.(*memstore.Store)
		if !ok {
			t.Fatalf("a %T is no memstore", s)
		}
		mem.Kill(worker)
	},
}

func TestStore_KeepsItsRules(t *testing.T) { storetest.Run(t, engine) }

func TestStore_KeepsItsRulesWhenCallsAreRepeated(t *testing.T) { storetest.RunTwice(t, engine) }

func TestPromise_HoldThroughFaults(t *testing.T) { storetest.RunFaults(t, engine, 0) }
