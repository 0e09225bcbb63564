package task

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestVersion_IsWhatTheBuildSays(t *testing.T) {
	revision := []debug.BuildSetting{{Key: "vcs.revision", Value: "0123abcd"}, {Key: "vcs.modified", Value: "true"}}
	for want, info := range map[string]debug.BuildInfo{
		"v1.2.3":         {Main: debug.Module{Version: "v1.2.3"}, Settings: revision},
		"0123abcd+dirty": {Main: debug.Module{Version: "(devel)"}, Settings: revision},
		"0123abcd":       {Settings: revision[:1]},
		"":               {Settings: revision[1:]},
	} {
		if got := versionOf(&info); got != want {
			t.Errorf("%q, want %q of %+v", got, want, info)
		}
	}
}

func TestVersion_OfTheWorkerIsBounded(t *testing.T) {
	w := newWorker(WorkerConfig{Version: strings.Repeat("v", 200), Mux: new(Mux)})
	if len(w.version) != maxName {
		t.Errorf("%d bytes", len(w.version))
	}
}
