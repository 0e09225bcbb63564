package memstore_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/memstore"
	"github.com/lastcall-go/lastcall/storetest"
	"github.com/lastcall-go/lastcall/task"
)

func TestTheStoreKeepsItsRules(t *testing.T) {
	storetest.Run(t, storetest.Engine{
		Open: func(*testing.T) task.Store { return memstore.New() },
		Kill: func(t *testing.T, s task.Store, worker string) {
			mem, ok := s.(*memstore.Store)
			if !ok {
				t.Fatalf("a %T is no memstore", s)
			}
			mem.Kill(worker)
		},
	})
}
