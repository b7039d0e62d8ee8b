//go:build tools

// Package tools names the program that this module pins, beside the one in envoy-gateway.
package tools

import _ "istio.io/istio/pilot/cmd/pilot-discovery"
