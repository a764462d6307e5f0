package webhook_test

import (
	"errors"
	"net"
	"strings"
	"syscall"
	"testing"

	"github.com/jobgate/jobgate/webhook"
)

// Who starts a second jobgate learns what is in the way, and which key to change.
func TestNewServer_AddressInUse(t *testing.T) {
	taken, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Close()
	rows := []struct{ name, reviews, health, key string }{
		{"reviews", taken.Addr().String(), "127.0.0.1:0", "serving.address"},
		{"health", "127.0.0.1:0", taken.Addr().String(), "serving.healthAddress"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			_, err := webhook.NewServer(webhook.Options{Address: row.reviews, HealthAddress: row.health})
			if !errors.Is(err, syscall.EADDRINUSE) || !strings.Contains(err.Error(), "another jobgate") || !strings.HasSuffix(err.Error(), "change "+row.key) {
				t.Errorf("got %v", err)
			}
		})
	}
}
