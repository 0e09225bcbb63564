package memstore_test

import (
	"testing"

	"github.com/lastcall-go/lastcall/memstore"
	"github.com/lastcall-go/lastcall/storetest"
)

func TestTheStoreDoesWhatTheModelDoes(t *testing.T) { storetest.Property(t, memstore.New(), 100) }
