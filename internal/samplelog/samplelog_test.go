package samplelog_test

import (
	"bytes"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/klog/v2/textlogger"

	"github.com/jobgate/jobgate/internal/samplelog"
)

func TestInfo_FloodLeavesABoundedLogThatCountsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var out bytes.Buffer
		logger := textlogger.NewLogger(textlogger.NewConfig(textlogger.Output(&out)))
		log := samplelog.New()
		for range 5000 {
			log.Info(logger, "Refused", "job", 1)
		}
		if got := strings.Count(out.String(), "\n"); got != 1000 {
			t.Errorf("%d lines at once, want the burst of 1,000", got)
		}
		if strings.Contains(out.String(), "linesLeftOut") {
			t.Error("a line of the burst counts lines left out, and there was none before it")
		}
		out.Reset()
		<-time.After(time.Second) // of the bubble's clock
		for range 50 {
			log.Info(logger, "Refused", "job", 1)
		}
		if got := strings.Count(out.String(), "\n"); got != 20 {
			t.Errorf("%d lines in the second after, want 20", got)
		}
		first, rest, _ := strings.Cut(out.String(), "\n")
		if !strings.Contains(first, "job=1 linesLeftOut=4000") || strings.Contains(rest, "linesLeftOut") {
			t.Errorf("the first line alone must count the 4,000 left out:\n%s", out.String())
		}
	})
}
