// Office documents that run something. Macro source is compressed inside a project: names of procedures and objects
// still stand in clear text in its tables (dir stream, _VBA_PROJECT, p-code names).

private rule is_macro_project {
  strings:
    $vba1 = "_VBA_PROJECT" ascii wide
    $vba2 = "Attribut"
    $vba3 = "VBAProject"
    $vba4 = "ThisDocument"
    $vba5 = "ThisWorkbook"
  condition:
    uint32be(0) == 0xD0CF11E0 and 2 of them
}

rule macro {
  meta:
    id = "LT-Y-0301"
    description = "an Office document or project with macros"
    description_vi = "tài liệu Office có macro"
    severity = "suspicious"
    score = 3
  condition:
    is_macro_project
}

rule macro_dropper {
  meta:
    id = "LT-Y-0302"
    description = "a macro that starts by itself and runs or fetches something"
    description_vi = "macro tự chạy và gọi lệnh hoặc tải tệp"
    severity = "suspicious"
    score = 10
  strings:
    $auto1 = "AutoOpen" nocase ascii wide
    $auto2 = "Auto_Open" nocase ascii wide
    $auto3 = "Document_Open" nocase ascii wide
    $auto4 = "Workbook_Open" nocase ascii wide
    $auto5 = "AutoExec" nocase ascii wide
    $auto6 = "Document_Close" nocase ascii wide
    $auto7 = "AutoClose" nocase ascii wide
    $run1 = "WScript.Shell" nocase ascii wide
    $run2 = "ShellExecute" nocase ascii wide
    $run3 = "powershell" nocase ascii wide
    $run4 = "CreateObject" nocase ascii wide
    $run5 = "URLDownloadToFile" nocase ascii wide
    $run6 = "MSXML2" nocase ascii wide
    $run7 = "ADODB" nocase ascii wide
    $run8 = "CreateProcess" nocase ascii wide
    $run9 = "VirtualAlloc" nocase ascii wide
    $run10 = "cmd.exe" nocase ascii wide
    $run11 = "WinExec" nocase ascii wide
    $run12 = "Environ" fullword nocase ascii wide
  condition:
    is_macro_project and any of ($auto*) and any of ($run*)
}

rule excel4_macro_sheet {
  meta:
    id = "LT-Y-0303"
    description = "an Excel 4 macro sheet, hidden or started on opening"
    description_vi = "trang macro Excel 4, ẩn hoặc tự chạy khi mở"
    severity = "suspicious"
    score = 9
  strings:
    // BOUNDSHEET record: very hidden or hidden, type macro sheet.
    $hidden = { 85 00 ?? 00 ?? ?? ?? ?? (01 | 02) 01 }
    $path = "xl/macrosheets/"
  condition:
    (uint32be(0) == 0xD0CF11E0 and $hidden) or (uint32be(0) == 0x504B0304 and $path)
}

rule embedded_program {
  meta:
    id = "LT-Y-0304"
    description = "an Office document with a program or script as an embedded object"
    description_vi = "tài liệu Office nhúng chương trình hoặc kịch bản"
    severity = "suspicious"
    score = 10
  strings:
    $native = "Ole10Native" wide
    $end1 = ".exe" nocase ascii wide
    $end2 = ".scr" nocase ascii wide
    $end3 = ".vbs" nocase ascii wide
    $end4 = ".js\x00" nocase
    $end5 = ".bat" nocase ascii wide
    $end6 = ".cmd" nocase ascii wide
    $end7 = ".lnk" nocase ascii wide
    $end8 = ".hta" nocase ascii wide
  condition:
    uint32be(0) == 0xD0CF11E0 and $native and any of ($end*)
}

rule remote_template {
  meta:
    id = "LT-Y-0305"
    description = "a document that fetches its template or an object from the network"
    description_vi = "tài liệu lấy mẫu hoặc đối tượng từ mạng"
    severity = "suspicious"
    score = 8
  strings:
    $relation = "<Relationship" nocase
    $kind1 = "/attachedTemplate" nocase
    $kind2 = "/oleObject" nocase
    $kind3 = "/frame\"" nocase
    $external = /TargetMode\s*=\s*["']External["']/ nocase
    $away = /Target\s*=\s*["'](mhtml:|https?:|file:|\\\\)/ nocase
  condition:
    $relation and any of ($kind*) and $external and $away
}

rule dde {
  meta:
    id = "LT-Y-0306"
    description = "a DDE field that starts a command"
    description_vi = "trường DDE gọi lệnh"
    severity = "suspicious"
    score = 10
  strings:
    $field1 = "DDEAUTO" nocase
    $field2 = "<w:instrText" nocase
    $run1 = "cmd.exe" nocase
    $run2 = "powershell" nocase
    $run3 = "mshta" nocase
    $cell = /[=+\-@](cmd|powershell|mshta|msexcel)\|['"]?\s*\/[a-z]/ nocase
  condition:
    ($field1 and any of ($run*)) or ($field2 and $field1) or ($cell and file_name iendswith ".csv")
}

rule equation_editor {
  meta:
    id = "LT-Y-0307"
    description = "an Equation Editor object (CVE-2017-11882 and its kin)"
    description_vi = "đối tượng Equation Editor (CVE-2017-11882 và tương tự)"
    severity = "suspicious"
    score = 8
  strings:
    $name1 = "Equation.3" ascii wide nocase
    $name2 = "Equation Native" wide
    $clsid = { 02 CE 02 00 00 00 00 00 C0 00 00 00 00 00 00 46 }
    $hex1 = "4571756174696f6e2e33" nocase
    $hex2 = "02ce020000000000c000000000000046" nocase
  condition:
    (uint32be(0) == 0xD0CF11E0 and ($name2 or ($name1 and $clsid)))
    or (uint32be(0) == 0x7B5C7274 and any of ($name1, $hex1, $hex2))
}

rule rtf_object {
  meta:
    id = "LT-Y-0308"
    description = "an RTF file with an embedded object that updates itself or hides its data"
    description_vi = "tệp RTF nhúng đối tượng tự cập nhật hoặc giấu dữ liệu"
    severity = "suspicious"
    score = 8
  strings:
    $object = "\\objdata" nocase
    $update = "\\objupdate" nocase
    $auto = "\\objautlink" nocase
    $package = "5061636b616765" nocase
    $ole = "d0cf11e0a1b11ae1" nocase
    $zip = "504b0304" nocase
    $bin = "\\bin0" nocase
  condition:
    uint32be(0) == 0x7B5C7274 and $object and ($update or $auto or $package or $ole or $zip or #bin > 2)
}

rule onenote_program {
  meta:
    id = "LT-Y-0309"
    description = "a OneNote section with a program, script or shortcut inside"
    description_vi = "mục OneNote chứa chương trình, kịch bản hoặc lối tắt"
    severity = "suspicious"
    score = 12
  strings:
    // FileDataStoreObject, then 20 octets, then the file.
    $pe = { E7 16 E3 BD 65 26 11 45 A4 C4 8D 4D 0B 7A 9E AC [20] 4D 5A }
    $lnk = { E7 16 E3 BD 65 26 11 45 A4 C4 8D 4D 0B 7A 9E AC [20] 4C 00 00 00 01 14 02 }
    $store = { E7 16 E3 BD 65 26 11 45 A4 C4 8D 4D 0B 7A 9E AC }
    $script1 = "<script" nocase
    $script2 = "WScript.Shell" nocase
    $script3 = "<HTA:APPLICATION" nocase
    $script4 = "@echo off" nocase
    $script5 = "powershell" nocase
  condition:
    uint32be(0) == 0xE4525C7B and ($pe or $lnk or ($store and any of ($script*)))
}
