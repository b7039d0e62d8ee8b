{{/* What the schema cannot check, or not with a clear message. */}}
{{- define "kanary.checks" -}}
{{- include "kanary.checks.values" . }}
{{- include "kanary.checks.args" . }}
{{- if .Values.checkReleases }}
{{- include "kanary.checks.releases" . }}
{{- end }}
{{- include "kanary.checks.shards" . }}
{{- include "kanary.checks.conversion" . }}
{{- end }}

{{- define "kanary.checks.values" -}}
{{- with .Values.sharding.sessionTtl }}
{{- if not (regexMatch "^([3-9]|[1-9][0-9]|[12][0-9][0-9]|300)s$|^[1-5]m$" .) }}
{{- fail (printf "sharding.sessionTtl is %q: write whole seconds from 3s to 300s, such as 15s" .) }}
{{- end }}
{{- end }}
{{- with .Values.watchNamespace }}
{{- if not (regexMatch "^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$" .) }}
{{- fail (printf "watchNamespace is %q: write the name of one namespace, such as shop" .) }}
{{- end }}
{{- end }}
{{- range list "nameOverride" "fullnameOverride" }}
{{- $name := get $.Values . }}
{{- if not (regexMatch "^([a-z0-9]([-a-z0-9]*[a-z0-9])?)?$" $name) }}
{{- fail (printf "%s is %q: write lower-case letters, digits and '-'" . $name) }}
{{- end }}
{{- end }}
{{- if not (regexMatch "^([0-9.]+|\\[[0-9a-f:]+\\])$" .Values.admin.host) }}
{{- fail (printf "admin.host is %q: write an address, 0.0.0.0 or [::]" .Values.admin.host) }}
{{- end }}
{{- with .Values.image }}
{{- $last := splitList "/" .repository | last }}
{{- if or (contains ":" $last) (contains "@" $last) }}
{{- fail (printf "image.repository is %q: write the tag to image.tag, or the digest to image.digest" .repository) }}
{{- end }}
{{- if not (regexMatch "^[a-z0-9][-a-z0-9._/:]*$" .repository) }}
{{- fail (printf "image.repository is %q: write a name in lower case, such as registry.example.com/kanary" .repository) }}
{{- end }}
{{- if and .tag (not (regexMatch "^[A-Za-z0-9_][-A-Za-z0-9._]{0,127}$" .tag)) }}
{{- fail (printf "image.tag is %q: write a tag, such as 0.1.0" .tag) }}
{{- end }}
{{- if and .digest (not (regexMatch "^sha256:[0-9a-f]{64}$" .digest)) }}
{{- fail (printf "image.digest is %q: write sha256: and 64 hexadecimal digits" .digest) }}
{{- end }}
{{- end }}
{{- range .Values.prometheus.allow }}
{{- if regexMatch "[,\\s]" . }}
{{- fail (printf "prometheus.allow contains %q: write each server as an item of its own" .) }}
{{- end }}
{{- end }}
{{- range .Values.prometheus.limits }}
{{- if not (regexMatch "^https?://[^/,\\s@]+[^,\\s]*$" .url) }}
{{- fail (printf "prometheus.limits contains the url %q: write a URL, such as http://prometheus.monitoring:9090" .url) }}
{{- end }}
{{- end }}
{{- with .Values.otlp.endpoint }}
{{- if not (regexMatch "^https?://[^/\\s@]+[^\\s]*$" .) }}
{{- fail (printf "otlp.endpoint is %q: write a URL, such as http://jaeger.monitoring:4317" .) }}
{{- end }}
{{- end }}
{{- if and .Values.otlp.caSecret (not (hasPrefix "https://" .Values.otlp.endpoint)) }}
{{- fail (printf "otlp.caSecret is set, but otlp.endpoint is %q: write an https URL, or remove otlp.caSecret" .Values.otlp.endpoint) }}
{{- end }}
{{- with .Values.conversion }}
{{- if and .enabled (eq (int .port) (int $.Values.admin.port)) }}
{{- fail (printf "conversion.port and admin.port are both %v: choose another port for one of them" .port) }}
{{- end }}
{{- if and .injectCaFrom (not .certificateSecret) }}
{{- fail "conversion.injectCaFrom needs conversion.certificateSecret, the Secret of that Certificate" }}
{{- end }}
{{- if and (eq .storedVersion "v1") (not .enabled) }}
{{- fail "conversion.storedVersion is v1, which only exists with conversion.enabled: store v1alpha1 first, as docs/migrating.md says" }}
{{- end }}
{{- end }}
{{- if and .Values.serviceMonitor.enabled (not .Values.service.enabled) }}
{{- fail "serviceMonitor.enabled needs service.enabled: the ServiceMonitor selects the Service" }}
{{- end }}
{{- end }}

{{/* A flag that is given twice ends the controller. */}}
{{- define "kanary.checks.args" -}}
{{- $values := dict
  "--admin-addr" "admin" "--namespace" "watchNamespace" "--kinds" "kinds" "--log-format" "log.format" "--log" "log.filter"
  "--shards" "sharding.shards" "--session-ttl" "sharding.sessionTtl"
  "--prometheus-concurrency" "prometheus.concurrency" "--prometheus-qps" "prometheus.qps"
  "--prometheus-limits" "prometheus.limits" "--prometheus-join" "prometheus.join" "--prometheus-allow" "prometheus.allow"
  "--routes" "routes.enabled" "--route-settling-time" "routes.settlingTime"
  "--keda" "keda.enabled" "--metrics-apis" "metricsAPIs.enabled" "--target-kinds" "targetKinds"
  "--conversion-addr" "conversion.enabled" "--conversion-secret" "conversion.enabled" "--conversion-names" "conversion.enabled"
  "--conversion-certificate" "conversion.certificateSecret"
  "--otlp-endpoint" "otlp.endpoint" "--otlp-protocol" "otlp.protocol" "--otlp-sample-ratio" "otlp.sampleRatio"
  "--otlp-ca-file" "otlp.caSecret"
  "--max-concurrent-canaries" "limits.maxConcurrentCanaries"
  "--max-concurrent-canaries-per-namespace" "limits.maxConcurrentCanariesPerNamespace" }}
{{- $fixed := dict
  "--identity" "it is the name of the pod" "--pod-template-hash" "it is a label of the pod"
  "--lease-namespace" "it is the namespace of the release"
  "--standalone" "during an update, two pods would act on the same Kanaries" }}
{{- range .Values.extraArgs }}
{{- $flag := splitList "=" . | first }}
{{- if hasKey $values $flag }}
{{- fail (printf "extraArgs contains %s: set the value %s instead" $flag (get $values $flag)) }}
{{- else if hasKey $fixed $flag }}
{{- fail (printf "extraArgs contains %s, which cannot be set: %s" $flag (get $fixed $flag)) }}
{{- end }}
{{- end }}
{{- range .Values.extraEnv }}
{{- if or (hasPrefix "KANARY_" .name) (has .name (list "HOSTNAME" "POD_NAME" "OTEL_EXPORTER_OTLP_ENDPOINT" "OTEL_EXPORTER_OTLP_PROTOCOL" "OTEL_EXPORTER_OTLP_HEADERS" "OTEL_EXPORTER_OTLP_CERTIFICATE")) }}
{{- fail (printf "extraEnv contains %s: settings of the controller have values, see `helm show values`" .name) }}
{{- end }}
{{- end }}
{{- end }}

{{/* Two controllers that do not share their Leases would both act on the same Kanaries. */}}
{{- define "kanary.checks.releases" -}}
{{- $this := printf "%s/%s" .Release.Namespace .Release.Name }}
{{- $found := list }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "ClusterRoleBinding" "" "").items }}
{{- $found = append $found . }}
{{- end }}
{{- range (lookup "rbac.authorization.k8s.io/v1" "RoleBinding" "" "").items }}
{{- $found = append $found . }}
{{- end }}
{{- $ours := default "*" .Values.watchNamespace }}
{{- range $found }}
{{- $annotations := default dict .metadata.annotations }}
{{- $theirs := get $annotations "kanary.k8s-operators.dev/watches" }}
{{- $release := printf "%s/%s" (get $annotations "meta.helm.sh/release-namespace") (get $annotations "meta.helm.sh/release-name") }}
{{- $namespace := dig "namespace" "" (first (default (list dict) .subjects)) }}
{{- $replaced := and (eq $namespace $.Release.Namespace) (eq .metadata.name (include "kanary.fullname" $)) }}
{{- if and $theirs (ne $release $this) (not $replaced) }}
{{- $who := ternary (printf "the installation in namespace %s" $namespace) (printf "release %s" $release) (eq $release "/") }}
{{- if eq $namespace $.Release.Namespace }}
{{- fail (printf "%s is in this namespace: install each release in a namespace of its own" $who) }}
{{- else if or (eq $theirs "*") (eq $ours "*") (eq $ours $theirs) }}
{{- $what := ternary "the Kanaries of all namespaces" (printf "the Kanaries of namespace %s" $theirs) (eq $theirs "*") }}
{{- fail (printf "%s serves %s, and both would act on the same Kanaries: uninstall it, or set another watchNamespace for each release" $who $what) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* What the first replica stored applies to all. Others would wait, or use the stored number. */}}
{{- define "kanary.checks.shards" -}}
{{- $stored := (lookup "v1" "ConfigMap" .Release.Namespace "kanary-shardmap").data }}
{{- if $stored }}
{{- $remedy := printf "set it back, or stop all replicas, run `kubectl -n %s delete configmap kanary-shardmap` and try again" .Release.Namespace }}
{{- $namespace := default "" (get $stored "namespace") }}
{{- if ne $namespace (default "" .Values.watchNamespace) }}
{{- fail (printf "watchNamespace is %q, but the replicas in namespace %s have served %q until now (\"\": all namespaces): %s" .Values.watchNamespace .Release.Namespace $namespace $remedy) }}
{{- end }}
{{- with .Values.sharding.shards }}
{{- if ne (toString .) (get $stored "shards") }}
{{- fail (printf "sharding.shards is %v, but the replicas in namespace %s have divided the Kanaries into %s shards until now: %s" . $.Release.Namespace (get $stored "shards") $remedy) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}

{{/* Server-side apply leaves caBundle, which the replicas wrote, and API servers refuse it without a webhook. */}}
{{- define "kanary.checks.conversion" -}}
{{- if and .Values.crds.install (not .Values.conversion.enabled) }}
{{- range list "kanarydeployments" "kanarystatefulsets" }}
{{- $name := printf "%s.kanary.k8s-operators.dev" . }}
{{- $crd := lookup "apiextensions.k8s.io/v1" "CustomResourceDefinition" "" $name }}
{{- if eq "Webhook" (dig "spec" "conversion" "strategy" "" $crd) }}
{{- fail (printf "conversion.enabled is false, but the CustomResourceDefinition %s has the version v1: turn it off first, as docs/operations.md says" $name) }}
{{- end }}
{{- end }}
{{- end }}
{{- end }}
