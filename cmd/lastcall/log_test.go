package main

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

func TestLog_IsJSONWhereNobodyWatches(t *testing.T) {
	for format, want := range map[string]string{logAuto: `"msg":"said"`, "": `"msg":"said"`, logJSON: `"msg":"said"`, logText: "msg=said"} {
		var b bytes.Buffer
		log, end := newLog(&b, format)
		log.Info("said")
		if end(); !strings.Contains(b.String(), want) {
			t.Errorf("%q: %s", format, &b)
		}
	}
}

func TestLog_ADurationInTheJSONLogHasItsUnit(t *testing.T) {
	var out bytes.Buffer
	log, end := newLog(&out, logAuto)
	log.Info("stop", "left", 90*time.Second)
	if end(); !strings.Contains(out.String(), `"left":"1m30s"`) {
		t.Errorf("%s", &out)
	}
}
