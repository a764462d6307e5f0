// Package samplelog writes log lines about decisions that anybody can cause, and bounds how many there are.
//
// It must not know what is decided. What a line says, and that it says nothing secret, is its caller's business.
package samplelog

import (
	"sync/atomic"

	"golang.org/x/time/rate"
	"k8s.io/klog/v2"
)

// Enough lines for every job of a busy night, few enough that a flood of bad requests cannot fill a disk.
const (
	linesPerSecond = 20
	lineBurst      = 1000
)

// Log writes at most 20 lines a second after a burst of 1,000. What was left out is counted in the next line that is
// written. It is safe for concurrent use.
type Log struct {
	limiter *rate.Limiter
	dropped atomic.Int64
}

// New returns a log with its whole burst before it.
func New() *Log { return &Log{limiter: rate.NewLimiter(linesPerSecond, lineBurst)} }

// Info writes a line to the logger, or counts it as left out.
func (l *Log) Info(logger klog.Logger, message string, fields ...any) {
	if !l.limiter.Allow() {
		l.dropped.Add(1)
		return
	}
	if n := l.dropped.Swap(0); n > 0 {
		fields = append(fields, "linesLeftOut", n)
	}
	// Named as the line's source is whoever decided to write it.
	logger.WithCallDepth(1).Info(message, fields...)
}
