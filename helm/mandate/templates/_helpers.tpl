{{- /* The name that everything namespaced is called after. */ -}}
{{- define "mandate.fullname" -}}
{{- printf "%s-controller" (.Release.Name | trunc 50 | trimSuffix "-") -}}
{{- end -}}

{{- define "mandate.serviceAccountName" -}}
{{- .Values.serviceAccount.name | default (include "mandate.fullname" .) -}}
{{- end -}}

{{- /* Whom the admission policies know as the operator. */ -}}
{{- define "mandate.operatorUsername" -}}
system:serviceaccount:{{ .Release.Namespace }}:{{ include "mandate.serviceAccountName" . }}
{{- end -}}

{{- define "mandate.selectorLabels" -}}
app.kubernetes.io/name: mandate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: controller
{{- end -}}

{{- define "mandate.labels" -}}
{{ include "mandate.selectorLabels" . }}
app.kubernetes.io/part-of: mandate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "mandate.recorderName" -}}
{{- printf "%s-recorder" (.Release.Name | trunc 50 | trimSuffix "-") -}}
{{- end -}}

{{- define "mandate.recorderSelectorLabels" -}}
app.kubernetes.io/name: mandate
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/component: recorder
{{- end -}}

{{- define "mandate.recorderLabels" -}}
{{ include "mandate.recorderSelectorLabels" . }}
app.kubernetes.io/part-of: mandate
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- /* Where model servers send what they answered, and the operator asks; empty without a recorder. */ -}}
{{- define "mandate.recorderUrl" -}}
{{- if .Values.recorder.enabled }}http://{{ include "mandate.recorderName" . }}.{{ .Release.Namespace }}:8080{{ end -}}
{{- end -}}

{{- /* Where the recorder takes orders for replays, of the operator only; empty where there are none. */ -}}
{{- define "mandate.recorderOrdersUrl" -}}
{{- if and .Values.recorder.enabled .Values.recorder.replay }}http://{{ include "mandate.recorderName" . }}.{{ .Release.Namespace }}:8081{{ end -}}
{{- end -}}

{{- /* Call with (dict "root" $ "image" "judge"): the image by digest. */ -}}
{{- define "mandate.image" -}}
{{- $image := index .root.Values.images .image -}}
{{- $digest := required (printf "images.%s.digest is needed: sha256:… of the image to run" .image) $image.digest -}}
{{- with .root.Values.images.registry }}{{ . }}/{{ end }}{{ $image.repository }}@{{ $digest }}
{{- end -}}

{{- /* What a schema can't say of the values: they must fit each other, and what the operator asks for its Pods. */ -}}
{{- define "mandate.checks" -}}
{{- $lease := .Values.controller.leaderElection -}}
{{- if le (float64 $lease.leaseDuration) (float64 $lease.renewDeadline) -}}
{{- fail (printf "controller.leaderElection.renewDeadline: got %v, expected less than leaseDuration, which is %v: who holds the Lease must give up before another may take it" $lease.renewDeadline $lease.leaseDuration) -}}
{{- end -}}
{{- if le (float64 $lease.renewDeadline) (float64 $lease.retryPeriod) -}}
{{- fail (printf "controller.leaderElection.retryPeriod: got %v, expected less than renewDeadline, which is %v: one failed try must not lose the Lease" $lease.retryPeriod $lease.renewDeadline) -}}
{{- end -}}
{{- $judge := .Values.evaluation.judge -}}
{{- $units := dict "" 1 "Ki" 1024 "Mi" 1048576 "Gi" 1073741824 "Ti" 1099511627776 -}}
{{- $bytes := mulf (regexFind "^[0-9]+" $judge.memory | float64) (get $units (regexFind "[A-Za-z]*$" $judge.memory)) -}}
{{- if lt $bytes 268435456.0 -}}
{{- fail (printf "evaluation.judge.memory: got %s, expected at least 256Mi, which the judge's container requests" $judge.memory) -}}
{{- end -}}
{{- $cpus := regexFind "^[0-9.]+" $judge.cpu | float64 -}}
{{- if lt (ternary $cpus (mulf $cpus 1000.0) (hasSuffix "m" $judge.cpu)) 100.0 -}}
{{- fail (printf "evaluation.judge.cpu: got %s, expected at least 100m, which the judge's container requests" $judge.cpu) -}}
{{- end -}}
{{- end -}}

{{- /* What the operator does in the namespaces that it looks after. */ -}}
{{- define "mandate.rules" -}}
- apiGroups: [mandate.dev]
  resources: [modeldeployments]
  verbs: [get, list, watch]
- apiGroups: [mandate.dev]
  resources: [modelevaluations, autonomygrants]
  verbs: [get, list, watch, create, update, patch, delete]
- apiGroups: [mandate.dev]
  resources: [modeldeployments/status, modelevaluations/status]
  verbs: [get, update, patch]
# Owner references that block deletion ask for this where the admission plugin OwnerReferencesPermissionEnforcement is on.
- apiGroups: [mandate.dev]
  resources: [modeldeployments/finalizers, modelevaluations/finalizers]
  verbs: [update]
- apiGroups: [batch]
  resources: [jobs]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [pods]
  verbs: [get, list, watch]
- apiGroups: [""]
  resources: [pods/log]
  verbs: [get]
- apiGroups: [apps]
  resources: [deployments, controllerrevisions]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [services]
  verbs: [get, list, watch, create, patch, delete]
# For models with the provider External.
- apiGroups: [""]
  resources: [podtemplates]
  verbs: [get, list, watch, create, patch, delete]
# For models with a gateway.
- apiGroups: [gateway.networking.k8s.io]
  resources: [httproutes]
  verbs: [get, list, watch, create, patch, delete]
# Of these, for models with serving.gateway.entityHeader.
- apiGroups: [gateway.envoyproxy.io]
  resources: [backendtrafficpolicies]
  verbs: [get, list, watch, create, patch, delete]
{{- if .Values.kserve.enabled }}
# For models with the provider KServe.
- apiGroups: [serving.kserve.io]
  resources: [inferenceservices]
  verbs: [get, list, watch, create, patch, delete]
{{- end }}
- apiGroups: [networking.k8s.io]
  resources: [networkpolicies]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [""]
  resources: [configmaps]
  verbs: [get, list, watch, create, patch, delete]
- apiGroups: [events.k8s.io]
  resources: [events]
  verbs: [get, create, patch]
{{- end -}}
