package memstore_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestStore_DoesWhatTheModelDoes(t *testing.T) {
	if testing.Short() {
		t.Log("make test-full: five times as many random calls, in sequences twice as long")
	}
	storetest.Property(t, memstore.New(), 100)
}
