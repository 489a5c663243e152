// PDF files that act by themselves. Names may be written with #xx escapes; the plain forms and the common tricks.

rule pdf_javascript {
  meta:
    id = "LT-Y-0501"
    description = "a PDF with JavaScript that runs when it is opened"
    description_vi = "tệp PDF có JavaScript chạy khi mở"
    severity = "suspicious"
    score = 6
  strings:
    $head = "%PDF-"
    $js1 = /\/J(a|#61)(v|#76)(a|#61)(S|#53)(c|#63)(r|#72)(i|#69)(p|#70)(t|#74)/
    $js2 = /\/(J|#4[aA])(S|#53)\s*[\(<0-9]/
    $auto1 = "/OpenAction"
    $auto2 = /\/AA\s*<</
    $auto3 = /\/#4[fF]penAction/
    $auto4 = "/Names"
  condition:
    $head in (0..1024) and any of ($js*) and any of ($auto*)
}

rule pdf_launch {
  meta:
    id = "LT-Y-0502"
    description = "a PDF that starts a program"
    description_vi = "tệp PDF gọi chương trình"
    severity = "suspicious"
    score = 12
  strings:
    $head = "%PDF-"
    $launch = /\/S\s*\/(L|#4[cC])(a|#61)(u|#75)(n|#6[eE])(c|#63)(h|#68)/
  condition:
    $head in (0..1024) and $launch
}

rule pdf_embedded_program {
  meta:
    id = "LT-Y-0503"
    description = "a PDF with an attached program, script or macro document"
    description_vi = "tệp PDF đính kèm chương trình, kịch bản hoặc tài liệu macro"
    severity = "suspicious"
    score = 9
  strings:
    $head = "%PDF-"
    $file = "/EmbeddedFile"
    $name = /\/U?F\s*\([^)]{1,120}\.(exe|scr|js|jse|vbs|vbe|wsf|hta|lnk|bat|cmd|ps1|docm|xlsm|iso|img|jar|msi)\s*\)/ nocase
  condition:
    $head in (0..1024) and $file and $name
}

rule pdf_submits_form {
  meta:
    id = "LT-Y-0504"
    description = "a PDF that sends what is typed into it to a web server"
    description_vi = "tệp PDF gửi nội dung điền vào tới máy chủ web"
    severity = "suspicious"
    score = 3
  strings:
    $head = "%PDF-"
    $submit = "/SubmitForm"
    $away = /\/F\s*(\(|<<[^>]{0,80}\()https?:/ nocase
  condition:
    $head in (0..1024) and $submit and $away
}
