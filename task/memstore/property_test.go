package memstore_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/task/memstore"
	"github.com/lastcall-go/lastcall/task/storetest"
)

func TestTheStoreDoesWhatTheModelDoes(t *testing.T) { storetest.Property(t, memstore.New(), 100) }
